"""What is said to the plant of alarms, explanations, scores and the node; the first two are queued in their commits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from edge_monitor import clock
from edge_monitor.deliver.compose import (
    alert_payload,
    condition_payload,
    explanation_payload,
    score_payload,
    status_payload,
    trend_payload,
)
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.deliver.topics import Topics
from edge_monitor.records import EventKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import MqttSettings, NodeSettings
    from edge_monitor.records import AlarmEvent, Explanation, MachineTrends, Score


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way to the outbox, or to the broker from memory."""

    topic: str
    payload: bytes
    alarm_id: str
    seq: int
    created_ms: int  # wall clock, milliseconds since 1970-01-01 UTC


class PlantMessages:
    """Makes messages and queues them. Thread-safe.

    Without a broker (`mqtt` is None) there are no messages to be queued.
    """

    def __init__(
        self, node: NodeSettings, mqtt: MqttSettings | None, machines: Iterable[MachineSettings], bundle: str
    ) -> None:
        self._node = node
        self._mqtt = mqtt
        self._topics = None if mqtt is None else Topics(mqtt.topic_prefix, node.site, node.name)
        self._machines = {machine.name: machine for machine in machines}
        self._bundle = bundle

    def told(
        self, event: AlarmEvent, *, machine: MachineSettings | None = None, persisted: bool = True
    ) -> list[Message]:
        """Return what is said of an event: of the episode, then of the alarm, as far as it is about either.

        `machine` is given when it is not in the configuration.
        """
        if self._topics is None:
            return []
        machine = machine or self._machines[event.machine]
        said = []
        if event.episode is not None and event.kind is not EventKind.UPDATE:
            said.append(self._condition(self._topics, machine, event, event.episode.seq, persisted=persisted))
        if event.raised:
            said.append(self._alert(self._topics, machine, event, persisted=persisted))
        return said

    def _condition(
        self, topics: Topics, machine: MachineSettings, event: AlarmEvent, seq: int, *, persisted: bool
    ) -> Message:
        payload = condition_payload(
            self._node,
            machine,
            event,
            clock_synced=clock.synchronized(),
            evidence=_picture(machine, event.alarm_id),
            persisted=persisted,
        )
        return Message(topics.condition(event.machine), payload.encode(), event.alarm_id, seq, event.at_ms)

    def _alert(self, topics: Topics, machine: MachineSettings, event: AlarmEvent, *, persisted: bool) -> Message:
        payload = alert_payload(
            self._node,
            machine,
            event,
            bundle=self._bundle,
            clock_synced=clock.synchronized(),
            evidence=_picture(machine, event.alarm_id),
            persisted=persisted,
        )
        return Message(topics.alert(event.machine), payload.encode(), event.alarm_id, event.seq, event.at_ms)

    def explanation(self, explanation: Explanation, at_ms: int) -> Message | None:
        """Return what is said of an explanation; nothing of a machine that is no longer configured."""
        machine = self._machines.get(explanation.machine)
        if self._topics is None or machine is None:
            return None
        payload = explanation_payload(
            self._node,
            machine,
            explanation,
            at_ms=at_ms,
            clock_synced=clock.synchronized(),
            evidence=_picture(machine, explanation.alarm_id),
        )
        topic = self._topics.explanation(explanation.machine)
        return Message(topic, payload.encode(), explanation.alarm_id, explanation.seq, at_ms)

    def score(self, score: Score, lag_s: float) -> bytes:
        """Return what is said of one window's score; `lag_s` is the time since the end of its sound, seconds."""
        at_ms, synced = clock.now().wall_ms, clock.synchronized()
        machine = self._machines[score.machine]
        return score_payload(self._node, machine, score, lag_s=lag_s, at_ms=at_ms, clock_synced=synced).encode()

    def trend(self, trends: MachineTrends, text: str, at_ms: int) -> bytes:
        """Return what is said of where a machine's scores go; `text` is the same in words."""
        machine, synced = self._machines[trends.machine], clock.synchronized()
        return trend_payload(self._node, machine, trends, text=text, at_ms=at_ms, clock_synced=synced).encode()

    def status(
        self,
        state: Literal["online", "stopped", "offline"],
        reason: str,
        *,
        started_ms: int,
        figures: Mapping[str, float | None],
    ) -> bytes:
        """Return how the node is; `started_ms` is wall time, milliseconds since 1970-01-01 UTC."""
        return status_payload(
            self._node,
            state=state,
            reason=reason,
            bundle=self._bundle,
            started_ms=started_ms,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
            figures=figures,
        ).encode()

    def queue(self, connection: sqlite3.Connection, message: Message | None) -> None:
        """Add a message to the outbox, in the caller's transaction."""
        if message is not None and self._mqtt is not None:
            max_bytes = self._mqtt.outbox_max_mb * 1_000_000
            Outbox(connection, max_rows=self._mqtt.outbox_max_rows, max_bytes=max_bytes).enqueue(**asdict(message))


def _picture(machine: MachineSettings, alarm_id: str) -> str | None:
    return None if machine.evidence == "off" else f"{machine.name}/{alarm_id}.png"
