"""The publisher thread: sole owner of the broker connection, its loss and its return."""

from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import structlog

from edge_monitor.deliver.connection import CLOSED, Connection
from edge_monitor.deliver.credentials import read_password, tls_context
from edge_monitor.deliver.health import PublisherHealth, Timing, Vitals
from edge_monitor.deliver.in_flight import InFlight
from edge_monitor.deliver.submissions import Submissions
from edge_monitor.errors import DeliveryError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_monitor.config.settings import MqttSettings
    from edge_monitor.deliver.outbox import OutboxPort
    from edge_monitor.deliver.topics import Topics

    StatusBuilder = Callable[[Literal["online", "stopped", "offline"], str], bytes]

_IDLE_S = 1.0  # a missed wake-up costs no more than this
_STABLE_S = 10.0  # a connection that lasted this long was a good one: backoff starts anew
_SUSPICIOUS = 3  # connections in a row that were closed at once: of a taken session, mosquitto < 2.0.16 says no more
_STOPPING_S = 0.01  # longest wait once a stop was asked for
_GOODBYE_S = 0.4  # waiting for the acknowledgement of `stopped`

_log = structlog.get_logger()


class Publisher:
    """Sends outbox rows, last values and scores to the broker, for as long as it runs.

    A broker that is down, slow, frozen or refusing is never an error of the caller: rows stay in the outbox. All
    methods may be called from any thread and return at once, except `stop()`. Raises DeliveryError when made with a
    password or certificate file that cannot be read. `status` builds the payload of the node's status; `subscriptions`
    maps topics to what takes their payloads and retain flags; `on_lost` is called when they cannot be heard any more,
    `on_cleared` with each machine of which the broker has let go. All of them in the publisher's thread.
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
        self._timing = timing or Timing()
        self._client_id = settings.client_id or f"edge-monitor-{topics.site}-{topics.node}"
        self._submissions = Submissions(settings.score_interval_s)
        self._stop_at: float | None = None  # monotonic time at which draining ends
        self._stopping = threading.Event()
        self._vitals = Vitals()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._traffic = InFlight(outbox, self._submissions, self._vitals, on_cleared)
        self._traffic.set_value(topics.status, b"")  # the first of every connection; filled in when it is made
        self._counted_s = 0.0

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
        self._submissions.note_commit()

    def set_state(self, machine: str, payload: bytes) -> None:
        """Replace a machine's state; only the newest is sent, and again after each reconnection."""
        self._submissions.put_value(self._topics.state(machine), payload)

    def set_trend(self, machine: str, payload: bytes) -> None:
        """Replace a machine's trend; as its state, but not acknowledged."""
        topic = self._topics.trend(machine)
        self._traffic.unacknowledged.add(topic)
        self._submissions.put_value(topic, payload)

    def clear_retained(self, machine: str) -> None:
        """Have the broker let go of the retained state and trend of a machine that is no more."""
        topics = (self._topics.state(machine), self._topics.trend(machine))
        self._traffic.cleared.update(dict.fromkeys(topics, machine))
        for topic in topics:
            self._submissions.put_value(topic, b"")

    def refresh_status(self) -> None:
        """Publish the status `online` anew, e.g. with new loss counts."""
        self._submissions.put_value(self._topics.status, self._status("online", "running"))

    def publish_score(self, machine: str, payload: bytes) -> None:
        """Send a score at most once per machine and `score_interval_s`; dropped while there is no connection."""
        self._submissions.put_score(self._topics.score(machine), payload, open_=self._vitals.now.connected)

    def publish_volatile(self, topic: str, payload: bytes, *, alarm_id: str, seq: int, created_ms: int) -> None:
        """Send an alert that could not be committed, from bounded memory: better told than lost with the disk."""
        self._submissions.put_volatile(topic, payload, alarm_id=alarm_id, seq=seq, created_ms=created_ms)

    def health(self) -> PublisherHealth:
        """Return a snapshot."""
        now = self._vitals.now
        return replace(
            now,
            alive=self._thread.is_alive(),
            scores_skipped=now.scores_skipped + self._submissions.scores_skipped,
            volatile_dropped=self._submissions.volatile_dropped + now.volatile_refused,
        )

    # --- the publisher thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = closed = 0  # in a row; of the closed ones nothing else was wrong
        try:
            while not self._stopping.is_set():
                began_s = time.monotonic()
                self._count()
                try:
                    reason = self._serve()
                except Exception as error:  # noqa: BLE001 - whatever it is, the plant must hear of the next alarm
                    reason = f"internal error: {error!r}"
                    self._traffic.abandon()
                self._vitals.note(connected=False)
                self._on_lost()
                if self._stopping.is_set():
                    break
                if time.monotonic() - began_s > _STABLE_S:
                    failures = closed = 0
                retry_s = self._timing.backoff_s(failures)
                failures += 1
                closed = closed + 1 if reason == CLOSED else 0
                if closed >= _SUSPICIOUS:
                    reason += f", {closed} times in a row: does another node use the client id {self._client_id}?"
                self._vitals.note(last_error=reason)
                _log.warning("deliver.disconnected", reason=reason, retry_s=round(retry_s, 2))
                self._rest(retry_s)
        finally:
            self._vitals.note(connected=False)
            self._submissions.waker.close()

    def _rest(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and not self._stopping.wait(min(left_s, _IDLE_S)):
            self._count()

    def _serve(self) -> str:
        """Make one connection and use it until it is lost or everything is said; return why it ended."""
        connection = Connection(
            self._settings,
            self._client_id,
            will=(self._topics.status, self._status("offline", "connection-lost")),
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
        self._traffic.connection_ended(connection)
        return connection.lost or "stopped"

    def _welcome(self) -> None:
        self._traffic.set_value(self._topics.status, self._status("online", "running"))
        self._vitals.note(connected=True, connections=self._vitals.now.connections + 1)
        _log.info("deliver.connected", host=self._settings.host, port=self._settings.port)

    def _hear_refusals(self, connection: Connection) -> None:
        refused, connection.unheard = connection.unheard or {}, None
        for topic, words in refused.items():
            self._vitals.note(last_error=f"cannot listen to {topic}: {words}")
            _log.error("deliver.subscription_refused", reason=f"{topic}: {words}")

    def _turn(self, connection: Connection, opened_s: float) -> None:
        """Read what is new, send what may go, wait for answers."""
        self._vitals.note(turned_s=time.monotonic())
        self._traffic.collect()  # each look into a database that cannot be opened may take seconds
        self._vitals.note(turned_s=time.monotonic())
        self._traffic.send(connection)
        if self._traffic.overdue(self._timing.acknowledge_s):
            connection.end(f"no acknowledgement within {self._timing.acknowledge_s:g} s")
            return
        if time.monotonic() - opened_s > _STABLE_S:
            self._traffic.trust()
        self._count()
        self._wait(connection, min(_IDLE_S, self._timing.acknowledge_s / 2))
        self._traffic.settle(connection.take_acknowledged())

    def _wait(self, connection: Connection, seconds: float) -> None:
        if self._stop_at is not None:
            seconds = min(seconds, _STOPPING_S)
        connection.wait(seconds, self._submissions.waker.socket)
        self._submissions.waker.clear()

    def _drained(self, connection: Connection) -> bool:
        """Return True when a stop was asked for and nothing is left to send, or no time."""
        if self._stop_at is None:
            return False
        nothing_left = connection.ready and self._traffic.idle
        return nothing_left or time.monotonic() >= self._stop_at

    def _say_goodbye(self, connection: Connection) -> None:
        goodbye = connection.publish(self._topics.status, self._status("stopped", "stopped"), qos=1, retain=True)
        end_s = time.monotonic() + _GOODBYE_S
        while connection.lost is None and time.monotonic() < end_s:
            self._wait(connection, end_s - time.monotonic())
            answered = connection.take_acknowledged()
            self._traffic.settle(answered)
            if any(mid == goodbye for mid, _ in answered):
                break

    def _count(self) -> None:
        now_s = time.monotonic()
        if now_s - self._counted_s < _IDLE_S:
            return
        self._counted_s = now_s
        self._vitals.note(turned_s=now_s)
        try:
            counts, before = self._outbox.counts(), self._vitals.now.outbox
        except (sqlite3.Error, StorageError) as error:
            self._vitals.note(last_error=f"outbox: {error}")
            return
        self._vitals.note(outbox=counts, turned_s=time.monotonic())
        if (counts.parked, counts.dropped) != (before.parked, before.dropped) and self._vitals.now.connected:
            self._traffic.set_value(self._topics.status, self._status("online", "running"))  # a loss is told at once
