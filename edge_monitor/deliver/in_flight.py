"""Messages on their way to the broker: collected, sent, answered, refused or put back."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.deliver.connection import REFUSED
from edge_monitor.deliver.hang_up_causes import STRIKES, HangUpCauses
from edge_monitor.deliver.outbox_reader import PAGE_ROWS, OutboxReader
from edge_monitor.deliver.topic_queues import Message, TopicQueues
from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_monitor.deliver.connection import Connection
    from edge_monitor.deliver.health import Vitals
    from edge_monitor.deliver.outbox import OutboxPort
    from edge_monitor.deliver.submissions import Submissions

_log = structlog.get_logger()


class InFlight:
    """What the outbox and the submissions hold, over one connection after the other. For the publisher's thread alone.

    `on_cleared` is called with each machine whose state the broker has let go of.
    """

    def __init__(
        self, outbox: OutboxPort, submissions: Submissions, vitals: Vitals, on_cleared: Callable[[str], None]
    ) -> None:
        self.cleared: dict[str, str] = {}  # topic -> machine that is no more; any thread may add one
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
                mid = connection.publish(message.topic, message.payload, qos=1, retain=retain, late_ms=late_ms)
                if mid is None:
                    self._refuse(message, f"{len(message.payload)} bytes are more than the broker accepts")
                    refused = True
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
                self._on_cleared(self.cleared.pop(message.topic))
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
