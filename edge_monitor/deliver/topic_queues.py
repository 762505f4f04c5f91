"""Which message may go out next: one queue per topic, in order, with one message in flight."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.deliver.outbox import OutboxRow


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
