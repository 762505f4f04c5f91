"""The storage thread: commits, one after the other, so that a slow disk stalls nobody else."""

from __future__ import annotations

import queue
import sqlite3
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

import structlog

from edge_monitor import clock, database
from edge_monitor.errors import DamagedError, DiskError, StorageError
from edge_monitor.service import salvage
from edge_monitor.service.reserve import Reserve
from edge_monitor.service.supervision import SupervisedThread
from edge_monitor.service.wal import read_wal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
log = structlog.get_logger()
_RESERVE_EVERY_S = 60.0  # how often the reserve is taken again once it was let go


class StorageThread:
    """Runs each submitted write in a transaction of its own, in order of submission.

    A disk that takes nothing makes writes fail, not the thread: each next one tries anew. A damaged database is
    rebuilt from what can be read of it. `fault` says what was found at the start, empty when all was well. Raises
    StorageError when the database comes from a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.fault = ""
        self.busy_since_s: float | None = None  # monotonic time at which the present write began, seconds
        self.openings = 0  # of the database so far; whoever keeps a reading connection opens it anew after each
        self._path = path
        self._reserve = Reserve(path.parent)
        self._reserved_s = clock.now().monotonic_s
        self._connection: sqlite3.Connection | None = None
        self._suspected = False
        self._look_at_log()
        try:
            self._open()
        except DiskError as error:
            self.fault = str(error)
            log.error("storage.not_opened", reason=self.fault)
        self._closing = threading.Lock()
        self._closed = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = SupervisedThread("storage", self._run)
        self.is_alive = self._thread.is_alive
        self.health = self._thread.health
        self._thread.start()

    def submit(self, write: Callable[[sqlite3.Connection], T], *, urgent: bool = False) -> Future[T]:
        """Queue `write`; the future ends with its result once committed, or with its error and nothing written.

        With `urgent` it may have the room that is reserved for alarms; it may then be called twice. After `close` it
        ends with StorageError: nobody may wait for a thread that has gone.
        """
        future: Future[T] = Future()

        def job() -> None:
            try:
                result = self._commit(write, urgent=urgent)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits; the thread must go on
                future.set_exception(error)
                if isinstance(error, sqlite3.Error):
                    log.error("storage.commit_failed", error=str(error))
            else:
                future.set_result(result)

        with self._closing:
            if self._closed:
                future.set_exception(StorageError("the database is closed", where=str(self._path)))
            else:
                self._jobs.put(job)
        return future

    def close(self) -> None:
        """Commit what is queued, then close the database."""
        with self._closing:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self.busy_since_s = clock.now().monotonic_s
            try:
                job()
            except Exception:  # what was told of a commit failed, not the commit: the next one must not wait for ever
                log.exception("storage.callback_failed")
            finally:
                self.busy_since_s = None

    def suspect(self) -> None:
        """Have the database checked, and rebuilt if need be: somebody could not read it."""
        if not self._suspected:
            self._suspected = True
            self.submit(self._check_again)

    def _check_again(self, connection: sqlite3.Connection) -> None:
        self._suspected = False
        if wrong := _wrong_with(connection):
            raise DamagedError(wrong, where=str(self._path))

    def _commit(self, write: Callable[[sqlite3.Connection], T], *, urgent: bool) -> T:
        try:
            result = self._try(write, urgent=urgent)
        except DiskError as error:
            raise sqlite3.OperationalError(str(error)) from error
        except (DamagedError, sqlite3.DatabaseError) as error:
            if not isinstance(error, DamagedError) and not database.is_damage(error):
                raise
            try:
                self._rebuild(str(error))
            except DiskError as trouble:
                raise sqlite3.OperationalError(str(trouble)) from error
            raise sqlite3.OperationalError(self.fault) from error  # whoever waits tries again
        if clock.now().monotonic_s - self._reserved_s > _RESERVE_EVERY_S:
            self._reserved_s = clock.now().monotonic_s
            self._reserve.keep()
        return result

    def _try(self, write: Callable[[sqlite3.Connection], T], *, urgent: bool) -> T:
        connection = self._connection or self._open()
        try:
            return _written(connection, write)
        except sqlite3.Error as error:
            if not (urgent and database.is_full(error) and self._make_room(connection)):
                raise
        return _written(connection, write)

    def _make_room(self, connection: sqlite3.Connection) -> bool:
        """Let the reserve go and start the log anew; return whether there was a reserve."""
        if not self._reserve.release():
            return False
        log.warning("storage.reserve_released", reason="the disk is full")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    # --- opening ----------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        """Open the database, whatever a crash, a full disk or damage left of it. Raises DiskError."""
        try:
            connection = self._opened()
        except DamagedError as error:
            return self._rebuild(error.message)
        except DiskError:
            if not self._reserve.release():
                raise
            log.warning("storage.reserve_released", reason="the database could not be opened")
            connection = self._opened()
        self._reserve.keep()
        self._connection = connection
        self.openings += 1
        return connection

    def _opened(self) -> sqlite3.Connection:
        """Open and check."""
        try:
            if salvage.rebuilt(self._path).exists():  # a crash came between the rebuilding and the renaming
                salvage.finish(self._path)
        except OSError as error:
            raise DiskError(f"a rebuilt database cannot be put in place: {error}", where=str(self._path)) from error
        connection = database.connect(self._path)
        try:
            wrong = _wrong_with(connection)
        except sqlite3.Error as error:
            wrong = str(error)
            if not database.is_damage(error):
                connection.close()
                raise DiskError(f"cannot check the database: {error}", where=str(self._path)) from error
        if wrong:
            connection.close()
            raise DamagedError(wrong, where=str(self._path))
        return connection

    def _look_at_log(self) -> None:
        """Say, and keep for whoever wants to look, when the last run's commits cannot all be read."""
        log_file = self._path.with_name(f"{self._path.name}-wal")
        try:
            pages = read_wal(log_file).unusable_frames
        except OSError as error:
            log.error("storage.log_not_checked", reason=str(error))
            return
        if not pages:
            return
        try:
            kept = salvage.set_aside(log_file)
        except OSError as error:
            kept = f"no copy: {error.strerror}"
        self.fault = f"the end of the write-ahead log cannot be read: {pages} pages are lost ({kept})"
        log.error("storage.log_damaged", pages=pages, kept_as=kept)

    def _rebuild(self, reason: str) -> sqlite3.Connection:
        """Save what can be read into a new database and go on with that. Raises DiskError."""
        log.error("storage.damaged", reason=reason)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        tally = salvage.rebuild(self._path)
        self.fault = str(tally)
        log.error("storage.rebuilt", rows=tally.rows, lost_some_of=list(tally.incomplete), kept_as=tally.kept_as)
        self._connection = database.connect(self._path)
        self.openings += 1
        return self._connection


def _wrong_with(connection: sqlite3.Connection) -> str:
    """Return what is found wrong with the database; an empty text when nothing, or when it is too large to be sure."""
    wrong = salvage.check(connection)
    if wrong is None:
        log.warning("storage.not_checked", limit_s=salvage.LIMIT_S)
    return wrong or ""


def _written(connection: sqlite3.Connection, write: Callable[[sqlite3.Connection], T]) -> T:
    with database.transaction(connection):
        return write(connection)
