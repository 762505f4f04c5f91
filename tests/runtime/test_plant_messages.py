"""What is said to the plant of an alarm is made and queued in one place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_monitor.config.settings import MqttSettings
from edge_monitor.records import Explanation
from edge_monitor.runtime.plant_messages import PlantMessages
from tests.runtime.parts import MESSAGES, NODE, PUMP, alarm, rows

if TYPE_CHECKING:
    from edge_monitor.store.store import Store


def test_without_a_broker_there_is_nothing_to_be_queued(store: Store) -> None:
    """The outbox stays empty; the recorders need not ask."""
    messages = PlantMessages(NODE, None, (PUMP,), "spectral")
    assert messages.told(alarm()) == []
    assert messages.explanation(Explanation("alarm-1", "pump", 0, "measured", 1, "A tone."), 0) is None
    store.commit(lambda to: messages.queue(to, None))
    assert rows(store, "SELECT count(*) FROM outbox") == [(0,)]


def test_an_alert_and_its_explanation_name_the_same_picture() -> None:
    """Of a machine that keeps no evidence neither names one."""
    explanation = Explanation("alarm-1", "pump", 0, "measured", 1, "A tone.")
    silent = PlantMessages(
        NODE, MqttSettings(host="broker"), (PUMP.model_copy(update={"evidence": "off"}),), "spectral"
    )
    named = []
    for messages in (MESSAGES, silent):
        for message in (*messages.told(alarm()), messages.explanation(explanation, 0)):
            assert message is not None
            named.append(json.loads(message.payload).get("evidence"))
    assert named == ["pump/alarm-1.png", "pump/alarm-1.png", None, None]


def test_the_outbox_keeps_to_its_cap_whoever_queues(store: Store) -> None:
    """With room for a hundred messages the oldest of a hundred and one goes, counted."""
    messages = PlantMessages(NODE, MqttSettings(host="broker", outbox_max_rows=100), (PUMP,), "spectral")
    queue, events = messages.queue, [alarm(number) for number in range(101)]
    store.commit(lambda to: [queue(to, each) for event in events for each in messages.told(event)])
    assert rows(store, "SELECT count(*), sum(alarm_id = 'alarm-0') FROM outbox") == [(100, 0)]
    assert rows(store, "SELECT value FROM counters WHERE name = 'outbox_dropped'") == [(1,)]
