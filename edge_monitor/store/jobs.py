"""What waits for the writer: alarms first, and yet nobody for ever."""

from __future__ import annotations

import threading
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Priority(IntEnum):
    """Who goes first when several writes wait."""

    ALARM = 0  # alarms and their messages
    STATE = 1  # what keeps the state of the node: acknowledgements, scores, what a person has asked for
    WORK = 2  # pieces of long work


# How often others may go before one that waits. Where a disk is so slow that alarms always wait, they would else go
# for ever: nothing would be explained, and nothing that was delivered deleted.
_PASSED_OVER = {Priority.ALARM: 1, Priority.STATE: 1, Priority.WORK: 3}


class Jobs:
    """A queue with one reader; of one priority in order of submission. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Priority, deque[Callable[[], None]]] = {each: deque() for each in Priority}
        self._passed_over = dict.fromkeys(Priority, 0)
        self._ended = False

    def put(self, priority: Priority, job: Callable[[], None]) -> bool:
        """Add a job; False after `end`."""
        with self._changed:
            if not self._ended:
                self._waiting[priority].append(job)
                self._changed.notify_all()
            return not self._ended

    def end(self) -> None:
        """Take no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Callable[[], None] | None:
        """Return the next job; None when none came in time, or `ended`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(self._waiting.values()), timeout_s)
            present = [each for each in Priority if self._waiting[each]]
            if not present:
                return None
            due = [each for each in present if self._passed_over[each] >= _PASSED_OVER[each]]
            chosen = max(due, default=present[0], key=lambda each: self._passed_over[each] - _PASSED_OVER[each])
            for each in present:
                self._passed_over[each] = 0 if each is chosen else self._passed_over[each] + 1
            return self._waiting[chosen].popleft()

    @property
    def ended(self) -> bool:
        """Return whether nothing is left, and nothing will come."""
        with self._changed:
            return self._ended and not any(self._waiting.values())
