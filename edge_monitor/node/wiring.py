"""A test of the wiring: an alarm that is none goes through the outbox to the plant, whole, and counts for nothing."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.deliver.compose import alert_payload, explanation_payload
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.deliver.topics import Topics
from edge_monitor.errors import DeliveryError
from edge_monitor.memory.generations import active_generation
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.records import AlarmEvent, EventKind, Explanation

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import MqttSettings
    from edge_monitor.node.node import Node

_RATIO = 2.0  # score / threshold of a test: an alarm beyond doubt
_REASON = "a test of the wiring, asked for by a person: no alarm"
_TEXT = "This is a test of the wiring. Nothing was heard."


class SentTestAlarm(Message):
    """What was queued for the broker."""

    alarm_id: str
    topics: tuple[str, ...]  # of its start, its explanation and its end, in this order


def send_test_alarm(node: Node, request: OfMachine) -> SentTestAlarm:
    """Queue start, explanation and end of an alarm with `test` 1; it is in no list, no state and no calibration.

    Raises DeliveryError where no broker is configured.
    """
    machine, mqtt = node.machine(request.machine), node.settings.mqtt
    if mqtt is None:
        raise DeliveryError("no broker is configured", where="[mqtt]", hint="docs/scada.md says how")
    with node.reading() as connection:
        start = _start(connection, machine)
    topics = Topics(mqtt.topic_prefix, node.settings.node.site, node.settings.node.name)
    alert, explanation = topics.alert(machine.name), topics.explanation(machine.name)
    messages = [
        (alert, _alert(node, machine, start), 0),
        (explanation, _explanation(node, machine, start), 0),
        (alert, _alert(node, machine, replace(start, seq=1, kind=EventKind.END)), 1),
    ]
    node.commit(lambda connection: _queue(connection, mqtt, start, messages))
    node.running.outbox_changed()
    return SentTestAlarm(alarm_id=start.alarm_id, topics=tuple(topic for topic, _, _ in messages))


def _start(connection: sqlite3.Connection, machine: MachineSettings) -> AlarmEvent:
    generation = active_generation(connection, machine.name)
    threshold = 1.0 if generation is None else threshold_of(machine.alarm, generation)
    now = clock.now()
    return AlarmEvent(
        machine=machine.name,
        alarm_id=str(uuid.uuid4()),
        seq=0,
        kind=EventKind.START,
        at_s=now.monotonic_s,
        at_ms=now.wall_ms,
        since_ms=now.wall_ms,
        score=_RATIO * threshold,
        peak_score=_RATIO * threshold,
        peak_ratio=_RATIO,
        threshold=threshold,
        generation=0 if generation is None else generation.number,
        level_dbfs=0.0,
        neighbours=(),
        window_start_s=now.monotonic_s,
        window_end_s=now.monotonic_s,
        reason=_REASON,
    )


def _alert(node: Node, machine: MachineSettings, event: AlarmEvent) -> bytes:
    synced = clock.synchronized()
    return alert_payload(
        node.settings.node, machine, event, bundle=node.bundle.name, clock_synced=synced, test=True
    ).encode()


def _explanation(node: Node, machine: MachineSettings, event: AlarmEvent) -> bytes:
    said = Explanation(event.alarm_id, event.machine, 0, "measured", event.generation, _TEXT, latency_s=0.0)
    synced = clock.synchronized()
    return explanation_payload(
        node.settings.node, machine, said, at_ms=event.at_ms, clock_synced=synced, test=True
    ).encode()


def _queue(
    connection: sqlite3.Connection, mqtt: MqttSettings, start: AlarmEvent, messages: list[tuple[str, bytes, int]]
) -> None:
    outbox = Outbox(connection, max_rows=mqtt.outbox_max_rows, max_bytes=mqtt.outbox_max_mb * 1_000_000)
    for topic, payload, seq in messages:
        outbox.enqueue(topic, payload, alarm_id=start.alarm_id, seq=seq, created_ms=start.at_ms)
