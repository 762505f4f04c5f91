"""What waits for the writer: alarms first, and pieces of long work in turn with all else; jobs share a transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.errors import DamagedError, DiskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

_JOINING_S = 0.02  # for so long others may join: 50 ms are the limit of a transaction


class Priority(IntEnum):
    """Who goes first when several writes wait."""

    ALARM = 0  # alarms and their messages
    STATE = 1  # what keeps the state of the node: acknowledgements, scores, what a person has asked for
    WORK = 2  # pieces of long work


@dataclass(frozen=True, slots=True)
class Job:
    """A change of the database, and whoever waits for it."""

    write: Callable[[sqlite3.Connection], Any]
    future: Future[Any]
    priority: Priority
    durable: bool  # when it is done; else a power cut may take it back, with all that was committed after it


class Jobs:
    """A queue with one reader; of one priority in order of submission. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Priority, deque[Job]] = {each: deque() for each in Priority}
        self._work_is_due = False  # it takes turns with the others: on a slow disk some of those always wait
        self._ended = False

    def put(self, job: Job) -> bool:
        """Add a job; False after `end`."""
        with self._changed:
            if not self._ended:
                self._waiting[job.priority].append(job)
                self._changed.notify_all()
            return not self._ended

    def end(self) -> None:
        """Take no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def first(self, timeout_s: float) -> Job | None:
        """Return the job that the next transaction begins with; None when none came in time, or `ended`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(self._waiting.values()), timeout_s)
            work = self._waiting[Priority.WORK]
            turn = work if work and (self._work_is_due or not self._pressing()) else self._pressing()
            self._work_is_due = turn is not work
            return turn.popleft() if turn else None

    def joining(self) -> Job | None:
        """Return a further job for a transaction that did not begin with long work; None when there is none."""
        with self._changed:
            turn = self._pressing()
            return turn.popleft() if turn else None

    @property
    def only_work(self) -> bool:
        """Return whether nothing waits but pieces of long work."""
        with self._changed:
            return not self._pressing()

    @property
    def ended(self) -> bool:
        """Return whether nothing is left, and nothing will come."""
        with self._changed:
            return self._ended and not any(self._waiting.values())

    def _pressing(self) -> deque[Job]:
        return self._waiting[Priority.ALARM] or self._waiting[Priority.STATE]


class WriteTransaction:
    """What one job does wrong undoes that job alone; what is wrong with the database ends them all."""

    def __init__(self, first: Job, joining: Callable[[], Job | None] | None) -> None:
        self.jobs = [first]
        self._joining = joining
        self._outcomes: list[Callable[[], None]] = []

    @property
    def urgent(self) -> bool:
        """Return whether an alarm is among the jobs."""
        return any(job.priority is Priority.ALARM for job in self.jobs)

    def write(self, connection: sqlite3.Connection) -> None:
        """Run the jobs inside the caller's transaction, and on the first call those that join them."""
        if self.jobs[0].priority is Priority.WORK:  # alone, and large: no need to keep what it changes
            self._outcomes = [partial(self.jobs[0].future.set_result, self.jobs[0].write(connection))]
            return
        self._outcomes = []
        for job in self._all():
            self._outcomes.append(_outcome(connection, job))

    def tell(self) -> None:
        """Tell whoever waits what has been committed."""
        for tell in self._outcomes:
            tell()

    def _all(self) -> Iterator[Job]:
        joining, self._joining = self._joining, None
        ends_s = clock.now().monotonic_s + _JOINING_S
        yield from tuple(self.jobs)
        while joining is not None and clock.now().monotonic_s < ends_s and (job := joining()) is not None:
            self.jobs.append(job)
            yield job


def _outcome(connection: sqlite3.Connection, job: Job) -> Callable[[], None]:
    connection.execute("SAVEPOINT job")
    try:
        result = job.write(connection)
    except Exception as error:
        of_the_database = isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError)
        if of_the_database or isinstance(error, (DamagedError, DiskError)):
            raise
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return partial(job.future.set_exception, error)
    connection.execute("RELEASE job")
    return partial(job.future.set_result, result)
