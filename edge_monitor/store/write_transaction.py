"""One transaction of the writer's: jobs that share its fsync."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.errors import DamagedError, DiskError
from edge_monitor.store.jobs import Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.store.jobs import Job

_JOINING_S = 0.02  # for so long others may join: 50 ms are the limit of a transaction


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
