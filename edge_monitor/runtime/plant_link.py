"""The node's side of MQTT: what is published when, and what the plant's run topics say."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import structlog

from edge_monitor import clock
from edge_monitor.capture.gate import parse_run_signal
from edge_monitor.deliver.compose import score_payload, status_payload
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.deliver.outbox_cursor import OutboxCursor
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.deliver.topics import Topics
from edge_monitor.errors import StorageError
from edge_monitor.runtime import removed_machines
from edge_monitor.runtime.health import observe
from edge_monitor.runtime.plant_commands import PlantCommands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import MqttSettings
    from edge_monitor.deliver.health import PublisherHealth
    from edge_monitor.records import Score
    from edge_monitor.runtime.daemon import Daemon
    from edge_monitor.runtime.plant_commands import Command
    from edge_monitor.runtime.supervision import ThreadHealth

log = structlog.get_logger()


class PlantLink:
    """Owns the publisher. `told(machine, running)` is called from its thread; None: the plant cannot be heard."""

    def __init__(self, daemon: Daemon, mqtt: MqttSettings, told: Callable[[str, bool | None], None]) -> None:
        node = daemon.settings.node
        self.topics = Topics(mqtt.topic_prefix, node.site, node.name)
        self._daemon = daemon
        self._told = told
        self._started_ms = clock.now().wall_ms
        self._outbox = OutboxCursor(daemon.store)
        self._commands = PlantCommands(daemon, mqtt.commands, self._reply)
        self._publisher: Publisher | None = None
        self._publisher = Publisher(
            mqtt,
            self.topics,
            self._outbox,
            self._status,
            subscriptions={**self._run_topics(), **self._command_topics(mqtt.commands)},
            on_lost=self._on_lost,
            on_cleared=lambda machine: removed_machines.forget(daemon, machine),
        )
        self.wake = self._publisher.wake
        self.set_state = self._publisher.set_state
        self.clear_state = self._publisher.clear_state
        self.refresh_status = self._publisher.refresh_status
        self.publish_volatile = self._publisher.publish_volatile

    def start(self) -> None:
        """Begin to connect, and to obey what is allowed."""
        assert self._publisher is not None  # noqa: S101 - only None while it is being made
        self._commands.start()
        self._publisher.start()

    def health(self) -> PublisherHealth:
        """Return the publisher's snapshot."""
        assert self._publisher is not None  # noqa: S101 - as above
        return self._publisher.health()

    def status(self) -> dict[str, Any]:
        """Return how the broker fares, as plain JSON types."""
        health = self.health()
        return {
            "connected": health.connected,
            "last_error": health.last_error,
            "queued": health.outbox.due,
            "parked": health.outbox.parked,
            "dropped": health.outbox.dropped + health.volatile_dropped,
        }

    def threads(self) -> list[ThreadHealth]:
        """Return how the thread fares that obeys commands, if any is allowed."""
        return self._commands.threads()

    def oldest_s(self) -> float:
        """Return how long the oldest message has waited for the broker, seconds; 0.0 when none does."""
        oldest_ms = self._outbox.oldest_ms
        return 0.0 if oldest_ms is None else max(self._daemon.timekeeper.believed_ms() - oldest_ms, 0) / 1000

    def delivered(self) -> bool:
        """Return whether nothing waits for the broker (or that cannot be read)."""
        try:
            with self._daemon.reading() as connection:
                return Outbox(connection).counts().due == 0
        except (sqlite3.Error, StorageError):
            return True

    def close(self) -> None:
        """Drain briefly, say `stopped`, disconnect; within 3 s whatever the broker does."""
        assert self._publisher is not None  # noqa: S101 - as above
        self._commands.close()
        if not self._publisher.stop():
            log.warning("deliver.stop_timed_out")

    def publish_score(self, machine: MachineSettings, score: Score, *, lag_s: float) -> None:
        """Publish a score, if its turn has come; `lag_s` is the time since the end of its sound, seconds."""
        assert self._publisher is not None  # noqa: S101 - as above
        payload = score_payload(
            self._daemon.settings.node,
            machine,
            score,
            lag_s=lag_s,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
        )
        self._publisher.publish_score(machine.name, payload.encode())

    def _status(self, state: Literal["online", "stopped", "offline"], reason: str) -> bytes:
        health = observe(self._daemon)
        return status_payload(
            self._daemon.settings.node,
            state=state,
            reason=reason,
            bundle=self._daemon.bundle.name,
            started_ms=self._started_ms,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
            alerts_queued=health.outbox_rows - health.explanations_queued,
            alerts_oldest_s=round(health.outbox_oldest_s, 1),
            alerts_parked=health.outbox_parked - health.explanations_parked,
            alerts_dropped=health.outbox_dropped - health.explanations_dropped,
            alarms_not_stored=health.alarms_not_stored,
            score_minutes_lost=health.score_minutes_lost,
            evidence_lost=health.evidence_lost,
            frames_dropped=health.frames_dropped,
            windows_dropped=health.windows_dropped,
            publish_errors=health.publish_errors,
            explanations_queued=health.explanations_queued,
            explanations_parked=health.explanations_parked,
            explanations_dropped=health.explanations_dropped,
            explanations_waiting=health.explanations_waiting,
            explanations_unavailable=health.explanations_unavailable,
            thread_restarts=health.thread_restarts,
            storage_fault=health.storage_fault,
            clock_steps=health.clock_steps,
            uptime_s=health.uptime_s,
        ).encode()

    def _command_topics(self, allowed: Iterable[Command]) -> dict[str, Callable[[bytes, bool], None]]:
        return {self.topics.command(command): partial(self._commands.take, command) for command in allowed}

    def _reply(self, payload: bytes) -> None:
        self.publish_volatile(self.topics.command_reply, payload, alarm_id="", seq=0, created_ms=clock.now().wall_ms)

    def _run_topics(self) -> dict[str, Callable[[bytes, bool], None]]:
        """Return what listens to the plant's run and speed topics; machines may share one."""
        machines = self._daemon.settings.machine
        return {
            topic: partial(self._tell_running, [each for each in machines if each.running.topic == topic])
            for topic in {machine.running.topic for machine in machines}
            if topic is not None
        }

    def _tell_running(self, machines: list[MachineSettings], payload: bytes, _retained: bool) -> None:
        for machine in machines:
            running = parse_run_signal(payload, machine.running.running_above)
            if running is None:
                log.warning("service.run_signal_unclear", machine=machine.name, payload=repr(payload[:40]))
            else:
                self._told(machine.name, running)

    def _on_lost(self) -> None:
        """Believe nobody's last word: a retained one comes again with the next connection."""
        for machine in self._daemon.settings.machine:
            if machine.running.topic is not None:
                self._told(machine.name, None)
