"""The publisher thread: sole owner of the broker connection, its loss and its return."""

from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import structlog

from edge_monitor import clock
from edge_monitor.deliver.bell import Bell
from edge_monitor.deliver.connection import Connection
from edge_monitor.deliver.credentials import read_password, tls_context
from edge_monitor.deliver.health import PublisherHealth, Timing
from edge_monitor.deliver.lanes import Lanes, Message
from edge_monitor.deliver.mailbox import Mailbox
from edge_monitor.deliver.reader import PAGE_ROWS, Reader
from edge_monitor.deliver.suspects import STRIKES, Suspects
from edge_monitor.errors import DeliveryError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_monitor.config import MqttSettings
    from edge_monitor.deliver.outbox import OutboxPort
    from edge_monitor.deliver.topics import Topics

    StatusBuilder = Callable[[Literal["online", "stopped", "offline"], str], bytes]

_IDLE_S = 1.0  # a missed wake-up costs no more than this
_STABLE_S = 10.0  # a connection that lasted this long was a good one: backoff starts anew
_STOPPING_S = 0.01  # longest wait once a stop was asked for
_GOODBYE_S = 0.4  # waiting for the acknowledgement of `stopped`

_log = structlog.get_logger()


class Publisher:
    """Sends outbox rows, last values and scores to the broker, for as long as it runs.

    A broker that is down, slow, frozen or refusing is never an error of the caller: rows stay in the outbox. All
    methods may be called from any thread and return at once, except `stop()`. Raises DeliveryError when made with a
    password or certificate file that cannot be read. `status` builds the payload of the node's status; `subscriptions`
    maps topics to what takes their payloads and retain flags; `on_lost` is called when they cannot be heard any more,
    `on_cleared` with each machine whose state the broker has let go of. All of them in the publisher's thread.
    """

    def __init__(
        self,
        settings: MqttSettings,
        topics: Topics,
        outbox: OutboxPort,
        status: StatusBuilder,
        *,
        subscriptions: Mapping[str, Callable[[bytes, bool], None]] = MappingProxyType({}),
        on_lost: Callable[[], None] = lambda: None,
        on_cleared: Callable[[str], None] = lambda _: None,
        timing: Timing | None = None,
    ) -> None:
        read_password(settings)
        if settings.tls is not None:
            tls_context(settings.tls)
        self._settings = settings
        self._topics = topics
        self._outbox = outbox
        self._status = status
        self._subscriptions = subscriptions
        self._on_lost = on_lost
        self._on_cleared = on_cleared
        self._cleared: dict[str, str] = {}  # topic -> machine
        self._timing = timing or Timing()
        self._client_id = settings.client_id or f"edge-monitor-{topics.site}-{topics.node}"
        self._mailbox = Mailbox(settings.score_interval_s)
        self._stop_at: float | None = None  # monotonic time at which draining ends
        self._stopping = threading.Event()
        self._health = PublisherHealth()
        self._bell = Bell()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        # From here on: the publisher thread's own.
        self._lanes = Lanes()
        self._lanes.set_value(topics.status, b"")  # the first value of every connection; filled in when it is made
        self._in_flight: dict[int, tuple[Message, float]] = {}  # packet id -> message, monotonic time it was sent
        self._reader = Reader(outbox)
        self._counted_s = 0.0
        self._suspects = Suspects()

    def start(self) -> None:
        """Begin to connect; the broker need not be there."""
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> bool:
        """Drain briefly, say `stopped`, disconnect; True when done within `timeout_s`, whatever the broker does."""
        self._stop_at = time.monotonic() + self._timing.drain_s
        self._stopping.set()
        if self._thread.ident is None:  # never started
            return True
        self.wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Say that rows have been committed."""
        self._mailbox.note_commit()
        self._bell.ring()

    def set_state(self, machine: str, payload: bytes) -> None:
        """Replace a machine's state; only the newest is sent, and again after each reconnection."""
        self._mailbox.put_value(self._topics.state(machine), payload)
        self._bell.ring()

    def clear_state(self, machine: str) -> None:
        """Have the broker let go of the retained state of a machine that is no more."""
        topic = self._topics.state(machine)
        self._cleared[topic] = machine
        self._mailbox.put_value(topic, b"")
        self._bell.ring()

    def refresh_status(self) -> None:
        """Publish the status `online` anew, e.g. with new loss counts."""
        self._mailbox.put_value(self._topics.status, self._status("online", "running"))
        self._bell.ring()

    def publish_score(self, machine: str, payload: bytes) -> None:
        """Send a score at most once per machine and `score_interval_s`; dropped while there is no connection."""
        if self._mailbox.put_score(self._topics.score(machine), payload, open_=self._health.connected):
            self._bell.ring()

    def publish_volatile(self, topic: str, payload: bytes, *, alarm_id: str, seq: int, created_ms: int) -> None:
        """Send an alert that could not be committed, from bounded memory: better told than lost with the disk."""
        self._mailbox.put_volatile(topic, payload, alarm_id=alarm_id, seq=seq, created_ms=created_ms)
        self._bell.ring()

    def health(self) -> PublisherHealth:
        """Return a snapshot."""
        return replace(
            self._health,
            alive=self._thread.is_alive(),
            scores_skipped=self._health.scores_skipped + self._mailbox.scores_skipped,
            volatile_dropped=self._mailbox.volatile_dropped + self._health.volatile_refused,
        )

    # --- the publisher thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                began_s = time.monotonic()
                self._count()
                try:
                    reason = self._serve()
                except Exception as error:  # noqa: BLE001 - whatever it is, the plant must hear of the next alarm
                    reason = f"internal error: {error!r}"
                    self._abandon()
                self._note(connected=False)
                self._on_lost()
                if self._stopping.is_set():
                    break
                failures = 0 if time.monotonic() - began_s > _STABLE_S else failures
                retry_s = self._timing.backoff_s(failures)
                failures += 1
                self._note(last_error=reason)
                _log.warning("deliver.disconnected", reason=reason, retry_s=round(retry_s, 2))
                self._rest(retry_s)
        finally:
            self._note(connected=False)
            self._bell.close()

    def _abandon(self) -> None:
        """Put back what was in flight on a connection that was not ended properly."""
        self._in_flight.clear()
        self._lanes.connection_lost()

    def _rest(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and not self._stopping.wait(min(left_s, _IDLE_S)):
            self._count()

    def _serve(self) -> str:
        """Make one connection and use it until it is lost or everything is said; return why it ended."""
        connection = Connection(
            self._settings,
            self._client_id,
            will_topic=self._topics.status,
            will_payload=self._status("offline", "connection-lost"),
            subscriptions=self._subscriptions,
        )
        try:
            connection.open(self._timing.connect_s)
        except DeliveryError as error:
            return str(error)
        opened_s = time.monotonic()
        while not connection.ready and connection.lost is None:
            self._wait(connection, _IDLE_S)
            if time.monotonic() - opened_s > self._timing.acknowledge_s or self._drained(connection):
                connection.end("the broker does not answer CONNECT")
        if connection.ready:
            self._welcome()
        while connection.lost is None and not self._drained(connection):
            self._turn(connection, opened_s)
            self._hear_refusals(connection)
        if connection.lost is None:
            self._say_goodbye(connection)
        connection.close(clean=connection.lost is None)
        self._forget(connection)
        return connection.lost or "stopped"

    def _welcome(self) -> None:
        self._lanes.set_value(self._topics.status, self._status("online", "running"))
        self._note(connected=True, connections=self._health.connections + 1)
        _log.info("deliver.connected", host=self._settings.host, port=self._settings.port)

    def _hear_refusals(self, connection: Connection) -> None:
        refused, connection.unheard = connection.unheard, ()
        for reason in refused:
            self._note(last_error=f"cannot listen to {reason}")
            _log.error("deliver.subscription_refused", reason=reason)

    def _turn(self, connection: Connection, opened_s: float) -> None:
        """Read what is new, send what may go, wait for answers."""
        self._collect()
        self._send(connection)
        now_s = time.monotonic()
        if any(now_s - sent_s > self._timing.acknowledge_s for _, sent_s in self._in_flight.values()):
            connection.end(f"no acknowledgement within {self._timing.acknowledge_s:g} s")
            return
        if now_s - opened_s > _STABLE_S:
            self._suspects.clear()
        self._count()
        self._wait(connection, min(_IDLE_S, self._timing.acknowledge_s / 2))
        self._settle(connection.take_acknowledged())

    def _collect(self) -> None:
        mail = self._mailbox.take(max(PAGE_ROWS - self._lanes.waiting, 0))
        for topic, payload in mail.values.items():
            self._lanes.set_value(topic, payload)
        for row in mail.volatile:
            self._lanes.add(row)
        try:
            for row in self._reader.read(self._lanes.waiting, committed=mail.committed):
                self._lanes.add(row)
        except (sqlite3.Error, StorageError) as error:
            self._note(last_error=f"outbox: {error}")
            _log.error("deliver.outbox_unreadable", error=str(error))

    def _send(self, connection: Connection) -> None:
        limit = 1 if self._suspects.cautious else connection.max_in_flight
        refused = True
        while refused:  # a refused message frees its lane at once
            refused = False
            for message in self._lanes.sendable(max(limit - len(self._in_flight), 0)):
                late_ms = clock.now().wall_ms - message.row.created_ms if message.row else None
                retain = message.row is None
                mid = connection.publish(message.topic, message.payload, qos=1, retain=retain, late_ms=late_ms)
                if mid is None:
                    self._refused(message, f"{len(message.payload)} bytes are more than the broker accepts")
                    refused = True
                else:
                    self._in_flight[mid] = (message, time.monotonic())
        for topic, payload in self._mailbox.take_scores().items():
            if connection.congested:
                self._note(scores_skipped=self._health.scores_skipped + 1)
            else:
                connection.publish(topic, payload, qos=0)
                self._note(scores_sent=self._health.scores_sent + 1)

    def _wait(self, connection: Connection, seconds: float) -> None:
        if self._stop_at is not None:
            seconds = min(seconds, _STOPPING_S)
        connection.wait(seconds, self._bell.socket)
        self._bell.hush()

    def _settle(self, answered: list[tuple[int, str | None]]) -> None:
        for mid, refusal in answered:
            if mid not in self._in_flight:
                continue  # a score, or the goodbye
            message, _ = self._in_flight.pop(mid)
            if refusal is not None:
                self._refused(message, refusal)
                continue
            self._lanes.landed(message)
            if message.row is None and message.topic in self._cleared:
                self._lanes.forget(message.topic)
                self._on_cleared(self._cleared.pop(message.topic))
            if message.row is not None:
                self._note(sent=self._health.sent + 1)
                if message.row.id > 0:
                    self._outbox.acknowledge(message.row.id)

    def _refused(self, message: Message, reason: str) -> None:
        self._lanes.landed(message)
        row = message.row
        self._note(last_error=f"{message.topic}: {reason}")
        _log.error("deliver.parked" if row else "deliver.refused", topic=message.topic, reason=reason)
        if row is not None and row.id > 0:
            self._outbox.park(row.id, reason)
        elif row is not None and row.alarm_id:  # an alert that exists in memory only
            self._note(volatile_refused=self._health.volatile_refused + 1)

    def _drained(self, connection: Connection) -> bool:
        """Return True when a stop was asked for and nothing is left to send, or no time."""
        if self._stop_at is None:
            return False
        nothing_left = connection.ready and self._lanes.idle and self._mailbox.empty and not self._reader.behind
        return nothing_left or time.monotonic() >= self._stop_at

    def _say_goodbye(self, connection: Connection) -> None:
        goodbye = connection.publish(self._topics.status, self._status("stopped", "stopped"), qos=1, retain=True)
        end_s = time.monotonic() + _GOODBYE_S
        while connection.lost is None and time.monotonic() < end_s:
            self._wait(connection, end_s - time.monotonic())
            answered = connection.take_acknowledged()
            self._settle(answered)
            if any(mid == goodbye for mid, _ in answered):
                break

    def _forget(self, connection: Connection) -> None:
        """Put unanswered messages back; one that makes the broker hang up again and again is parked."""
        self._settle(connection.take_acknowledged())
        messages = [message for message, _ in self._in_flight.values()]
        self._in_flight.clear()
        if connection.closed_by_broker:
            poison = self._suspects.hung_up([message.row.id for message in messages if message.row is not None])
            for message in messages:
                if message.row is not None and message.row.id == poison:
                    self._refused(message, f"the broker hung up on it {STRIKES} times")
        self._lanes.connection_lost()

    def _count(self) -> None:
        now_s = time.monotonic()
        self._note(progress_s=now_s)
        if now_s - self._counted_s < _IDLE_S:
            return
        self._counted_s = now_s
        try:
            counts, before = self._outbox.counts(), self._health.outbox
        except (sqlite3.Error, StorageError) as error:
            self._note(last_error=f"outbox: {error}")
            return
        self._note(outbox=counts)
        if (counts.parked, counts.dropped) != (before.parked, before.dropped) and self._health.connected:
            self._lanes.set_value(self._topics.status, self._status("online", "running"))  # a loss is told at once

    def _note(self, **changes: object) -> None:
        errors = self._health.errors + ("last_error" in changes)
        self._health = replace(self._health, errors=errors, **changes)  # type: ignore[arg-type]  # each call names its own fields
