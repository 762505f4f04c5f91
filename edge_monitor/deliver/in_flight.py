"""Messages on their way to the broker: read, queued by topic, sent, answered, refused or put back."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.deliver.connection import REFUSED
from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_monitor.deliver.connection import Connection
    from edge_monitor.deliver.health import Vitals
    from edge_monitor.deliver.outbox import OutboxPort, OutboxRow
    from edge_monitor.deliver.submissions import Submissions

STRIKES = 5  # a restarting broker does not hang up this often on one message it got alone
PAGE_ROWS = 256  # rows held in memory at most
_IDLE_S = 1.0  # a missed wake-up costs no more than this

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Message:
    """A message on its way: an outbox row, or the newest value of a retained topic."""

    topic: str
    payload: bytes
    row: OutboxRow | None  # None: a last value, retained and replaceable


class TopicQueues:
    """Outbox rows queue up; last values replace each other and are kept, so that each connection begins with them."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[OutboxRow]] = {}  # by topic, only queues that have rows
        self._values: dict[str, bytes] = {}  # newest payload by retained topic
        self._stale: dict[str, None] = {}  # retained topics whose newest payload the broker has not got, in order
        self._in_flight: dict[str, Message] = {}  # by topic

    @property
    def waiting(self) -> int:
        """Return the number of rows that wait, those in flight not counted."""
        return sum(map(len, self._rows.values()))

    @property
    def idle(self) -> bool:
        """Return True when nothing waits and nothing is in flight."""
        return not (self._rows or self._stale or self._in_flight)

    def add(self, row: OutboxRow) -> None:
        """Queue a row behind those of its topic."""
        self._rows.setdefault(row.topic, deque()).append(row)

    def set_value(self, topic: str, payload: bytes) -> None:
        """Replace a retained topic's newest payload."""
        self._values[topic] = payload
        self._stale[topic] = None

    def forget(self, topic: str) -> None:
        """Begin no later connection with a retained topic's value."""
        self._values.pop(topic, None)
        self._stale.pop(topic, None)

    def sendable(self, limit: int) -> Iterator[Message]:
        """Take at most `limit` messages whose topics are free, last values first; each is in flight from then on."""
        for topic in [topic for topic in self._stale if topic not in self._in_flight][:limit]:
            del self._stale[topic]
            limit -= 1
            yield self._send(Message(topic, self._values[topic], None))
        for topic in [topic for topic in self._rows if topic not in self._in_flight][:limit]:
            rows = self._rows[topic]
            row = rows.popleft()
            if not rows:
                del self._rows[topic]
            yield self._send(Message(topic, row.payload, row))

    def answered(self, message: Message) -> None:
        """Free the message's topic: the broker has answered."""
        del self._in_flight[message.topic]

    def connection_lost(self) -> None:
        """Put what was in flight back to the front of its queue; every last value goes out again."""
        for message in self._in_flight.values():
            if message.row is not None:
                self._rows.setdefault(message.topic, deque()).appendleft(message.row)
        self._in_flight.clear()
        self._stale = dict.fromkeys(self._values)

    def _send(self, message: Message) -> Message:
        self._in_flight[message.topic] = message
        return message


class OutboxReader:
    """Reads on when rows were committed, when there is room, and once a second."""

    def __init__(self, outbox: OutboxPort) -> None:
        self.behind = True  # there may be rows that were not read
        self._outbox = outbox
        self._cursor = 0  # id of the last row read
        self._looked_s = 0.0

    def read(self, waiting: int, *, committed: bool) -> Sequence[OutboxRow]:
        """Return rows that come next while `waiting` others are held; raises what the outbox raises."""
        now_s = time.monotonic()
        if not (self.behind or committed or now_s - self._looked_s > _IDLE_S):
            return ()
        room = PAGE_ROWS - waiting
        if room < PAGE_ROWS // 2:
            self.behind = True
            return ()
        self.behind, self._looked_s = False, now_s  # an outbox that cannot be read is tried again in a while
        rows = self._outbox.due(room, self._cursor)
        self.behind = len(rows) == room
        if rows:
            self._cursor = rows[-1].id
        return rows


class HangUpCauses:
    """Which message makes the broker hang up, where the protocol gives no reason (MQTT 3.1.1).

    After a hang-up messages go out one at a time; the one the broker hangs up on again and again is the cause.
    """

    def __init__(self) -> None:
        self.cautious = False  # True: one message in flight at a time
        self._strikes: Counter[int] = Counter()

    def hung_up(self, in_flight: Sequence[int]) -> int | None:
        """Note the rows in flight when the broker hung up; return the id of one that is to be parked."""
        convicted = None
        if self.cautious and len(in_flight) == 1:
            (row_id,) = in_flight
            self._strikes[row_id] += 1
            if self._strikes[row_id] >= STRIKES:
                convicted = row_id
        self.cautious = self.cautious or bool(in_flight)
        return convicted

    def clear(self) -> None:
        """Forget: the connection has been stable."""
        self.cautious = False
        self._strikes.clear()


class InFlight:
    """What the outbox and the submissions hold, over one connection after the other. For the publisher's thread alone.

    `on_cleared` is called with each machine of which the broker holds nothing any more.
    """

    def __init__(
        self, outbox: OutboxPort, submissions: Submissions, vitals: Vitals, on_cleared: Callable[[str], None]
    ) -> None:
        self.cleared: dict[str, str] = {}  # topic -> machine that is no more; any thread may add one
        self.unacknowledged: set[str] = set()  # retained topics that are sent at most once; any thread may add one
        self._outbox = outbox
        self._submissions = submissions
        self._vitals = vitals
        self._on_cleared = on_cleared
        self._queues = TopicQueues()
        self._reader = OutboxReader(outbox)
        self._hang_ups = HangUpCauses()
        self._in_flight: dict[int, tuple[Message, float]] = {}  # packet id -> message, monotonic time it was sent

    @property
    def idle(self) -> bool:
        """Return True when nothing is left to send or to be answered, scores excepted."""
        return self._queues.idle and self._submissions.empty and not self._reader.behind

    def set_value(self, topic: str, payload: bytes) -> None:
        """Replace a retained topic's newest payload; each connection begins with it."""
        self._queues.set_value(topic, payload)

    def collect(self) -> None:
        """Take in what is new."""
        submitted = self._submissions.take(max(PAGE_ROWS - self._queues.waiting, 0))
        for topic, payload in submitted.values.items():
            self._queues.set_value(topic, payload)
        for row in submitted.volatile:
            self._queues.add(row)
        try:
            for row in self._reader.read(self._queues.waiting, committed=submitted.committed):
                self._queues.add(row)
        except (sqlite3.Error, StorageError) as error:
            self._vitals.note(last_error=f"outbox: {error}")
            _log.error("deliver.outbox_unreadable", error=str(error))

    def send(self, connection: Connection) -> None:
        """Send what may go now."""
        limit = 1 if self._hang_ups.cautious else connection.max_in_flight
        refused = True
        while refused:  # a refused message frees its topic at once
            refused = False
            for message in self._queues.sendable(max(limit - len(self._in_flight), 0)):
                late_ms = clock.now().wall_ms - message.row.created_ms if message.row else None
                retain = message.row is None
                qos = 0 if message.topic in self.unacknowledged else 1
                mid = connection.publish(message.topic, message.payload, qos=qos, retain=retain, late_ms=late_ms)
                if mid is None:
                    self._refuse(message, f"{len(message.payload)} bytes are more than the broker accepts")
                    refused = True
                elif qos == 0:
                    self._queues.answered(message)
                else:
                    self._in_flight[mid] = (message, time.monotonic())
        for topic, payload in self._submissions.take_scores().items():
            if connection.congested:
                self._vitals.note(scores_skipped=self._vitals.now.scores_skipped + 1)
            else:
                connection.publish(topic, payload, qos=0)
                self._vitals.note(scores_sent=self._vitals.now.scores_sent + 1)

    def overdue(self, limit_s: float) -> bool:
        """Return whether a message has waited longer than this for the broker's answer."""
        now_s = time.monotonic()
        return any(now_s - sent_s > limit_s for _, sent_s in self._in_flight.values())

    def settle(self, answered: Sequence[tuple[int, str | None]]) -> None:
        """Take each message (by packet id, with None or why it was refused) for told, or park it."""
        for mid, refusal in answered:
            if mid not in self._in_flight:
                continue  # a score, or the goodbye
            message, _ = self._in_flight.pop(mid)
            if refusal is not None:
                self._refuse(message, f"{REFUSED}: {refusal}")
                continue
            self._queues.answered(message)
            if message.row is None and message.topic in self.cleared:
                self._queues.forget(message.topic)
                machine = self.cleared.pop(message.topic)
                if machine not in self.cleared.values():
                    self._on_cleared(machine)
            if message.row is not None:
                self._vitals.note(sent=self._vitals.now.sent + 1)
                if message.row.id > 0:
                    self._outbox.acknowledge(message.row.id)

    def trust(self) -> None:
        """Suspect no message any more: the connection has been stable."""
        self._hang_ups.clear()

    def connection_ended(self, connection: Connection) -> None:
        """Put unanswered messages back; one that makes the broker hang up again and again is parked."""
        self.settle(connection.take_acknowledged())
        messages = [message for message, _ in self._in_flight.values()]
        self._in_flight.clear()
        if connection.closed_by_broker:
            poison = self._hang_ups.hung_up([message.row.id for message in messages if message.row is not None])
            for message in messages:
                if message.row is not None and message.row.id == poison:
                    self._refuse(message, f"the broker hung up on it {STRIKES} times")
        self._queues.connection_lost()

    def abandon(self) -> None:
        """Put back what was in flight on a connection that was not ended properly."""
        self._in_flight.clear()
        self._queues.connection_lost()

    def _refuse(self, message: Message, reason: str) -> None:
        self._queues.answered(message)
        row = message.row
        self._vitals.note(last_error=f"{message.topic}: {reason}")
        _log.error("deliver.parked" if row else "deliver.refused", topic=message.topic, reason=reason)
        if row is not None and row.id > 0:
            self._outbox.park(row.id, reason)
        elif row is not None and row.alarm_id:  # an alert that exists in memory only
            self._vitals.note(volatile_refused=self._vitals.now.volatile_refused + 1)
