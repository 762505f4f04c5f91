"""An alarm is on disk before anyone is told of it, or it is told from memory and counted."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from edge_monitor.runtime import alarm_recorder
from tests.broker import Broker, Subscriber, wait_until
from tests.enrolled import IDLE
from tests.explained import inside
from tests.runtime.parts import alarm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.product import Product

    Make = Callable[..., Product]

STATUS, ALERT = "edge-monitor/v1/plant/edge/status", "edge-monitor/v1/plant/edge/pump/alert"


def test_an_alarm_that_cannot_be_stored_is_counted_and_published(enrolled: Make, tmp_path: Path) -> None:
    """A second alarm of a machine whose first goes on fits no database: told from memory, counted in the status."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(IDLE, mqtt_port=broker.port)
        with inside(product.config) as daemon:
            first = json.loads(scada.wait_for(STATUS, 1, 30.0)[0].payload)
            daemon.recorder.commit(alarm(1), None)
            daemon.recorder.commit(alarm(2), None)
            alerts = [json.loads(each.payload) for each in scada.wait_for(ALERT, 2, 20.0)]
            wait_until(lambda: json.loads(scada.on(STATUS)[-1].payload)["alarms_not_stored"] == 1, 10.0, "the loss")
            health = product.answer("status")["health"]
    assert first["alarms_not_stored"] == 0
    assert {(each["alarm_id"], each["persisted"]) for each in alerts} == {("alarm-1", 1), ("alarm-2", 0)}
    assert health["alarms_not_stored"] == 1
    assert product.rows("SELECT alarm_id FROM alarms") == [("alarm-1",)]


def test_an_alarm_that_comes_while_the_disk_is_tried_is_stored(enrolled: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores were refused, a trial write is on its way and takes its time: the alarm waits for its own commit."""
    product, goes_on = enrolled(IDLE), threading.Event()
    monkeypatch.setattr(alarm_recorder, "RETRY_S", 0.0)
    with inside(product.config) as daemon:
        daemon.store.submit(lambda _: goes_on.wait(20.0))
        daemon.recorder.note_disk("scores could not be written: a test")
        daemon.recorder.retry()  # the trial write now waits behind the one above
        daemon.recorder.commit(alarm(1), None)
        goes_on.set()
        wait_until(lambda: product.rows("SELECT alarm_id FROM alarms") == [("alarm-1",)], 10.0, "the alarm on disk")
        assert daemon.recorder.not_stored == daemon.recorder.in_memory == 0
