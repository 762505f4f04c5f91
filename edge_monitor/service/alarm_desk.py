"""Where an alarm becomes durable before anyone is told: its row and its message are one commit."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.deliver.compose import alert_payload
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.deliver.topics import Topics
from edge_monitor.records import EventKind

if TYPE_CHECKING:
    import sqlite3
    from concurrent.futures import Future

    from edge_monitor.alarm.history import AnomalousWindow
    from edge_monitor.records import AlarmEvent
    from edge_monitor.service.daemon import Daemon
    from edge_monitor.service.pipeline import Proof

log = structlog.get_logger()
_UNSAVED = 1000  # events kept in memory while the disk fails
RETRY_S = 5.0


class AlarmDesk:
    """Commits events in order. While the disk fails they are sent from memory, marked, and written when it is back."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        settings = daemon.settings
        self._mqtt = settings.mqtt
        self._topics = (
            Topics(settings.mqtt.topic_prefix, settings.node.site, settings.node.name) if settings.mqtt else None
        )
        self._lock = threading.Lock()
        self._unsaved: deque[tuple[AlarmEvent, Proof | None]] = deque(maxlen=_UNSAVED)
        self._retry_at_s = 0.0

    def commit(self, event: AlarmEvent, proof: Proof | None) -> None:
        """Have the event committed; returns at once. State, alert and evidence follow the commit."""
        with self._lock:
            if self._unsaved:  # order is kept: behind those that wait for the disk
                self._unsaved.append((event, proof))
                waiting = True
            else:
                waiting = False
        if waiting:
            self._tell_unsaved(event)
            return
        future = self._daemon.storage.submit(lambda connection: self._write(connection, event, proof, queue=True))
        future.add_done_callback(lambda done: self._committed(done, event, proof))

    def keep_window(self, machine: str, window: AnomalousWindow) -> None:
        """Keep another anomalous window with the machine's active alarm."""
        active = self._daemon.pipelines[machine].alarm.active
        if active is not None:
            alarm_id = active.alarm_id
            self._daemon.storage.submit(lambda connection: history.add_window(connection, alarm_id, window))

    def retry(self) -> None:
        """Try to write what the disk would not take; called every now and then."""
        with self._lock:
            if not self._unsaved or clock.now().monotonic_s < self._retry_at_s:
                return
            self._retry_at_s = clock.now().monotonic_s + RETRY_S
            unsaved = list(self._unsaved)

        def write_all(connection: sqlite3.Connection) -> None:
            for event, proof in unsaved:
                self._write(connection, event, proof, queue=False)

        self._daemon.storage.submit(write_all).add_done_callback(lambda done: self._recovered(done, unsaved))

    def _write(self, connection: sqlite3.Connection, event: AlarmEvent, proof: Proof | None, *, queue: bool) -> None:
        history.record(connection, event)
        for window in reversed(proof.windows if proof else ()):
            history.add_window(connection, event.alarm_id, window)
        if queue and self._mqtt and self._topics:
            outbox = Outbox(
                connection, max_rows=self._mqtt.outbox_max_rows, max_bytes=self._mqtt.outbox_max_mb * 1_000_000
            )
            outbox.enqueue(
                self._topics.alert(event.machine),
                self._payload(event, persisted=True),
                alarm_id=event.alarm_id,
                seq=event.seq,
                created_ms=event.at_ms,
            )

    def _payload(self, event: AlarmEvent, *, persisted: bool) -> bytes:
        machine = self._daemon.machine(event.machine)
        return alert_payload(
            self._daemon.settings.node,
            machine,
            event,
            bundle=self._daemon.bundle.name,
            clock_synced=clock.synchronized(),
            evidence=None if machine.evidence == "off" else f"{event.machine}/{event.alarm_id}.png",
            persisted=persisted,
        ).encode()

    def _committed(self, done: Future[None], event: AlarmEvent, proof: Proof | None) -> None:
        """Tell everybody; runs in the storage thread."""
        error = done.exception()
        if error is not None:
            with self._lock:
                self._unsaved.append((event, proof))
                self._retry_at_s = clock.now().monotonic_s + RETRY_S
            self._daemon.board.storage_fault(f"an alarm could not be written: {error}")
            self._tell_unsaved(event)
            return
        self._told(event)
        if self._daemon.publisher:
            self._daemon.publisher.wake()
        if proof and self._daemon.machine(event.machine).evidence != "off":
            self._daemon.illustrator.illustrate(event, proof)

    def _told(self, event: AlarmEvent) -> None:
        ended = event.kind is EventKind.END
        self._daemon.board.committed(event.machine, None if ended else event.alarm_id)
        log.warning(
            {EventKind.START: "alarm.started", EventKind.UPDATE: "alarm.continued", EventKind.END: "alarm.ended"}[
                event.kind
            ],
            machine=event.machine,
            alarm_id=event.alarm_id,
            seq=event.seq,
            ratio=round(event.score / event.threshold, 2),
            stream_s=round(event.at_s, 1),
            reason=event.reason,
        )

    def _tell_unsaved(self, event: AlarmEvent) -> None:
        self._told(event)
        if self._daemon.publisher and self._topics:
            self._daemon.publisher.publish_volatile(
                self._topics.alert(event.machine),
                self._payload(event, persisted=False),
                alarm_id=event.alarm_id,
                seq=event.seq,
                created_ms=event.at_ms,
            )

    def _recovered(self, done: Future[None], written: list[tuple[AlarmEvent, Proof | None]]) -> None:
        if done.exception() is not None:
            return
        with self._lock:
            for _ in written:
                self._unsaved.popleft()
            left = bool(self._unsaved)
        log.info("storage.recovered", written=len(written))
        if not left:
            self._daemon.board.storage_fault("")
