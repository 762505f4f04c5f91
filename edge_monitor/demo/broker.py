"""An MQTT broker inside this process, for a box that has none."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edge_monitor.demo.child import child
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_S = 20.0


@contextmanager
def embedded_broker() -> Iterator[int]:
    """Run a broker on a free loopback port for as long as the body runs; yield the port.

    The one of the extra `demo`, which speaks MQTT 3.1.1, or else an installed mosquitto. Raises EdgeMonitorError when
    there is neither.
    """
    port = _free_port()
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if find_spec("amqtt") is not None:
        with _amqtt(port):
            yield port
    elif mosquitto is not None:
        with _mosquitto(mosquitto, port):
            yield port
    else:
        raise EdgeMonitorError("the demo needs a broker", hint="sudo apt-get install mosquitto, or `make demo`")


@contextmanager
def _mosquitto(binary: str, port: int) -> Iterator[None]:
    with child([binary, "-p", str(port)], subprocess.DEVNULL) as process:
        deadline_s = time.monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise EdgeMonitorError("the broker did not start", where=binary, hint=f"try `{binary} -v -p {port}`")
            time.sleep(0.05)  # mosquitto does not say when it listens
        yield


@contextmanager
def _amqtt(port: int) -> Iterator[None]:
    from amqtt.broker import Broker

    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broker", daemon=True)
    thread.start()

    async def start() -> Broker:
        broker = Broker(config, loop=loop)
        await broker.start()
        return broker

    broker = asyncio.run_coroutine_threadsafe(start(), loop).result(_START_S)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(_START_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
