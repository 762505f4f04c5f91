"""What other threads hand to the publisher: bounded, replaced rather than queued, taken in one go."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass

from edge_monitor.deliver.outbox import OutboxRow

_MAX_VOLATILE = 1000  # alerts kept in memory while the disk fails, a few MB


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was in the box."""

    committed: bool  # rows have been committed since the last look
    values: dict[str, bytes]  # newest payload by retained topic
    volatile: tuple[OutboxRow, ...]  # messages that are not in the database; their ids are negative


class Waker:
    """A socket that becomes readable once somebody wakes it; `wake()` may be called from any thread, at any time."""

    def __init__(self) -> None:
        self.socket, self._sender = socket.socketpair()
        self.socket.setblocking(False)
        self._sender.setblocking(False)

    def wake(self) -> None:
        """Wake whoever waits; nothing happens when it is readable already, or was closed."""
        with contextlib.suppress(OSError):
            self._sender.send(b"!")

    def clear(self) -> None:
        """Have it readable no more."""
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)

    def close(self) -> None:
        """End it."""
        self.socket.close()
        self._sender.close()


class Submissions:
    """Thread-safe; every method returns at once, and what is put wakes the publisher.

    `score_interval_s`: at most one score per topic in this time.
    """

    def __init__(self, score_interval_s: float) -> None:
        self.scores_skipped = 0
        self.volatile_dropped = 0
        self.waker = Waker()
        self._score_interval_s = score_interval_s
        self._lock = threading.Lock()
        self._committed = False
        self._values: dict[str, bytes] = {}
        self._scores: dict[str, bytes] = {}
        self._score_at_s: dict[str, float] = {}  # monotonic time of the last accepted score
        self._volatile: deque[OutboxRow] = deque()
        self._volatile_id = 0

    def note_commit(self) -> None:
        """Note that rows have been committed."""
        with self._lock:
            self._committed = True
        self.waker.wake()

    def put_value(self, topic: str, payload: bytes) -> None:
        """Replace a retained topic's payload."""
        with self._lock:
            self._values[topic] = payload
        self.waker.wake()

    def put_score(self, topic: str, payload: bytes, *, open_: bool) -> None:
        """Take a score unless the connection is not open or the topic's last one is too recent."""
        now_s = time.monotonic()
        with self._lock:
            last_s = self._score_at_s.get(topic)
            if not open_ or (last_s is not None and now_s - last_s < self._score_interval_s):
                self.scores_skipped += 1
                return
            self._score_at_s[topic] = now_s
            self._scores[topic] = payload
        self.waker.wake()

    def put_volatile(self, topic: str, payload: bytes, *, alarm_id: str, seq: int, created_ms: int) -> None:
        """Queue a message that is not in the database; at the bound the oldest is dropped, and counted if an alert.

        An alert has an `alarm_id`, the answer to a command has none.
        """
        with self._lock:
            self._volatile_id -= 1
            if len(self._volatile) >= _MAX_VOLATILE:
                self.volatile_dropped += bool(self._volatile.popleft().alarm_id)
            self._volatile.append(OutboxRow(self._volatile_id, topic, payload, alarm_id, seq, created_ms))
        self.waker.wake()

    @property
    def empty(self) -> bool:
        """Return True when nothing waits, scores excepted."""
        with self._lock:
            return not (self._committed or self._values or self._volatile)

    def take(self, volatile_limit: int) -> Submitted:
        """Empty the box, scores and messages beyond `volatile_limit` excepted."""
        with self._lock:
            volatile = tuple(self._volatile.popleft() for _ in range(min(volatile_limit, len(self._volatile))))
            submitted = Submitted(self._committed, self._values, volatile)
            self._committed, self._values = False, {}
            return submitted

    def take_scores(self) -> dict[str, bytes]:
        """Take the scores, newest by topic."""
        with self._lock:
            scores, self._scores = self._scores, {}
            return scores
