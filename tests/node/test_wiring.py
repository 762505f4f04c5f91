"""An integrator proves the wiring with an alarm that is none: it comes whole, says so, and counts for nothing."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.broker import Broker, Subscriber, wait_until
from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path

HEALTHY = '{ kind = "simulator", machine = "pump", take = 1, pace = "realtime" }'
BASE = "edge-monitor/v1/plant/edge/pump"


def test_a_test_alarm_comes_whole_and_counts_for_nothing(enrolled_state: Path, tmp_path: Path) -> None:
    """Start, explanation and end with `test` 1, in this order; no alarm is listed, the state is what it was."""
    shutil.copytree(enrolled_state, tmp_path / "state")
    with Broker(tmp_path) as broker, Subscriber(broker.port) as plant:
        product = Product(tmp_path, HEALTHY, mqtt_port=broker.port)
        with product.daemon() as daemon:
            before = product.answer("generations list")
            sent = product.answer("alarms test", "--machine", "pump")
            assert sent["topics"] == [f"{BASE}/alert", f"{BASE}/explanation", f"{BASE}/alert"]
            wait_until(lambda: len(plant.on(f"{BASE}/alert")) == 2, 10.0, "the end of the test")
            said = [json.loads(message.payload) for message in plant.messages if message.topic in sent["topics"]]
            assert [each.get("event", each.get("status")) for each in said] == ["start", "ok", "end"]
            assert {(each["alarm_id"], each["test"]) for each in said} == {(sent["alarm_id"], 1)}
            assert said[0]["text"] == "Cooling pump: TEST, no alarm: sounds anomalous, 2.00 x threshold"
            assert product.answer("alarms list") == []
            assert product.answer("generations list") == before
            states = [json.loads(message.payload) for message in plant.on(f"{BASE}/state")]
            assert {each["alarm"] for each in states} == {0}
            assert daemon.stop() == 0


def test_without_a_daemon_it_waits_and_without_a_broker_it_is_refused(tmp_path: Path) -> None:
    """In one line with what to do; what waits goes out with the next start."""
    refused = Product(tmp_path, HEALTHY).command("alarms test", "--machine", "pump")
    assert (refused.returncode, refused.stderr) == (
        1,
        "edge-monitor: [mqtt]: no broker is configured (docs/scada.md says how)\n",
    )
    product = Product(tmp_path, HEALTHY, mqtt_port=1)
    assert product.command("alarms test").returncode == 0
    assert product.rows("SELECT seq FROM outbox ORDER BY id") == [(0,), (0,), (1,)]
