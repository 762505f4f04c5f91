"""How the node fares, as a person asks for it and as the plant is told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.broker import Broker, Subscriber, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.product import Product

    Make = Callable[..., Product]

STATUS = "edge-monitor/v1/plant/edge/status"
ALERT = "edge-monitor/v1/plant/edge/pump/alert"
FAILING = (
    '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 5, fault_db = 12, pace = 20 }'
)


@pytest.mark.timeout(240)  # of patience, on a busy box
def test_a_backlog_shows_in_status_and_to_the_plant(enrolled: Make, tmp_path: Path) -> None:
    """What waited, for how long, and what failed is in `status` at once and in the node's first message afterwards."""
    broker = Broker(tmp_path)
    product = enrolled(FAILING, mqtt_port=broker.port)
    with product.daemon() as daemon:
        wait_until(lambda: product.status()["mqtt"]["queued"] >= 2, 60.0, "an alert and its explanation")
        wait_until(lambda: product.status()["health"]["outbox_oldest_s"] > 2.0, 20.0, "two seconds of waiting")
        health = product.answer("status")["health"]
        assert health["outbox_rows"] >= 2
        assert (health["explanations_ok"], health["explanations_unavailable"]) == (1, 0)
        assert health["publish_errors"] >= 1
        shown = product.command("status").stdout
        assert re.search(r"^broker: not connected: .*; \d+ queued \(oldest: \d+ s\), 0 parked", shown, re.MULTILINE)
        assert "explanations: 1 given, 0 unavailable, 0 waiting" in shown
        assert re.search(r"^pump: alarm .* \d+ windows, last \d+ s ago .*alarm \w{8}-.*\n  good: ", shown, re.MULTILINE)
        assert "independent blocks" not in shown
        assert "independent blocks" in product.command("status", "--verbose").stdout
        with broker, Subscriber(broker.port) as scada:
            first = json.loads(scada.wait_for(STATUS, 1, 75.0)[0].payload)
            assert first["alerts_oldest_s"] > 2.0
            assert first["publish_errors"] >= 1
            assert (first["thread_restarts"], first["storage_fault"], first["clock_steps"]) == (0, 0, 0)
            assert first["uptime_s"] > 2.0
            wait_until(lambda: product.status()["health"]["outbox_oldest_s"] == 0.0, 20.0, "an empty outbox")
            assert daemon.stop() == 0


def test_status_can_be_watched(enrolled: Make) -> None:
    """Every second another line, and windows are counted on; Ctrl-C ends it."""
    product = enrolled(FAILING)
    with product.daemon() as daemon:
        watching = subprocess.Popen(
            product.argv("status", "--json", "--watch"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert watching.stdout is not None
        with watching.stdout as lines:
            windows = [json.loads(next(lines))["machines"][0]["windows"] for _ in range(3)]
            watching.send_signal(signal.SIGINT)
        assert windows[0] < windows[2]
        watching.wait(10)
        assert daemon.stop() == 0
