"""The node's side of MQTT: what is published when, and what the plant's run topics say."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog

from edge_monitor import clock
from edge_monitor.capture.gate import parse_run_signal
from edge_monitor.deliver.compose import score_payload, status_payload
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.deliver.topics import Topics
from edge_monitor.errors import StorageError
from edge_monitor.service.outbox_port import StoredOutbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.config import MachineSettings, MqttSettings
    from edge_monitor.deliver.health import PublisherHealth
    from edge_monitor.records import Score
    from edge_monitor.service.daemon import Daemon

log = structlog.get_logger()


class PlantLink:
    """Owns the publisher. `told(machine, running)` is called from its thread; None: the plant cannot be heard."""

    def __init__(self, daemon: Daemon, mqtt: MqttSettings, told: Callable[[str, bool | None], None]) -> None:
        node = daemon.settings.node
        self.topics = Topics(mqtt.topic_prefix, node.site, node.name)
        self._daemon = daemon
        self._told = told
        self._started_ms = clock.now().wall_ms
        self._outbox = StoredOutbox(daemon.state_dir.database, daemon.storage)
        self._publisher: Publisher | None = None
        self._publisher = Publisher(
            mqtt, self.topics, self._outbox, self._status, subscriptions=self._run_topics(), on_lost=self._on_lost
        )
        self.start = self._publisher.start
        self.wake = self._publisher.wake
        self.set_state = self._publisher.set_state
        self.refresh_status = self._publisher.refresh_status
        self.publish_volatile = self._publisher.publish_volatile

    def health(self) -> PublisherHealth:
        """Return the publisher's snapshot."""
        assert self._publisher is not None  # noqa: S101 - only None while it is being made
        return self._publisher.health()

    def delivered(self) -> bool:
        """Return whether nothing waits for the broker (or that cannot be read)."""
        try:
            with self._daemon.database() as connection:
                return Outbox(connection).counts().due == 0
        except (sqlite3.Error, StorageError):
            return True

    def close(self) -> None:
        """Drain briefly, say `stopped`, disconnect; within 3 s whatever the broker does."""
        assert self._publisher is not None  # noqa: S101 - as above
        if self._publisher.stop():
            self._outbox.close()
        else:
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
        health = self._publisher.health() if self._publisher else None
        return status_payload(
            self._daemon.settings.node,
            state=state,
            reason=reason,
            bundle=self._daemon.bundle.name,
            started_ms=self._started_ms,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
            alerts_queued=health.outbox.due if health else 0,
            alerts_parked=health.outbox.parked if health else 0,
            alerts_dropped=health.outbox.dropped + health.volatile_dropped if health else 0,
            frames_dropped=self._daemon.feed.dropped_frames,
            windows_dropped=self._daemon.hearing.windows_dropped,
        ).encode()

    def _run_topics(self) -> dict[str, Callable[[bytes], None]]:
        """Return what listens to the plant's run and speed topics; machines may share one."""
        machines = self._daemon.settings.machine
        return {
            topic: partial(self._tell_running, [each for each in machines if each.running.topic == topic])
            for topic in {machine.running.topic for machine in machines}
            if topic is not None
        }

    def _tell_running(self, machines: list[MachineSettings], payload: bytes) -> None:
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
