"""A node that explains its alarms, and what a plant sees of them."""

from __future__ import annotations

import json
import os
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_monitor.config.file import load_settings
from edge_monitor.runtime.daemon import Daemon
from edge_monitor.runtime.systemd import Notifier
from tests.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.runtime.composition import Parts
    from edge_monitor.runtime.taps import Item
    from tests.broker import Subscriber
    from tests.product import Product

BASE = "edge-monitor/v1/plant/edge"
EXPLANATION = f"{BASE}/pump/explanation"
CANARY = "sk-canary-5f3a9c01"
FAILING = (
    '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 20, seconds = 90, pace = 40 }'
)


def explain(folder: Path, base_url: str, **settings: object) -> str:
    """Return an `[explain]` table that asks the LLM at `base_url` with a key from a file."""
    key = folder / "llm.key"
    key.write_text(CANARY + "\n")
    table = {"llm": "openai", "base_url": base_url, "api_key_file": str(key), "timeout_s": 1.0, "deadline_s": 20.0}
    return "[explain]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in (table | settings).items())


def explanations(scada: Subscriber, count: int, seconds: float = 30.0) -> list[dict[str, Any]]:
    """Return the explanations a subscriber got, as soon as there are `count`."""
    return [json.loads(message.payload) for message in scada.wait_for(EXPLANATION, count, seconds)]


def assert_secret(product: Product, scada: Subscriber, *further: bytes) -> None:
    """Check that the key is in no message, log, command line or row."""
    everything = [message.payload for message in scada.messages] + list(further)
    everything += [(product.folder / "daemon.log").read_bytes(), " ".join(product.argv("run")).encode()]
    everything += [path.read_bytes() for path in product.state.glob("edge-monitor.db*")]
    assert not [text for text in everything if CANARY.encode() in text]


@contextmanager
def inside(config: Path) -> Iterator[Parts]:
    """Run a daemon in a thread of this process beside the body, from when it listens; lend its parts."""
    daemon = Daemon(load_settings(config), Notifier())
    running = threading.Thread(target=daemon.run)
    mask = os.umask(0o077)  # which the daemon sets for its whole process
    running.start()
    try:
        wait_until(lambda: daemon.parts and daemon.parts.pipeline.thread.is_alive(), 30.0, "the daemon")
        assert daemon.parts is not None
        yield daemon.parts
    finally:
        daemon.stop()
        running.join(10.0)
        os.umask(mask)


def tapped(daemon: Parts, until: threading.Event) -> Iterator[Item]:
    """Yield what the daemon hears of the pump, as it hears it, until told."""
    with daemon.taps.open("pump") as tap:
        while not until.is_set():
            try:
                yield tap.get(timeout=0.1)
            except queue.Empty:
                continue
