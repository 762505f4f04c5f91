"""The one writer: a thread that commits what it is sent, alarms first."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from edge_monitor import clock
from edge_monitor.errors import DamagedError, DiskError, StorageError
from edge_monitor.store import counters, database, recovery
from edge_monitor.store.jobs import Job, Jobs, Priority, WriteTransaction
from edge_monitor.store.log_file import PAGE_BYTES
from edge_monitor.store.reserve import Reserve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_monitor.store.checkpoints import Checkpoints
    from edge_monitor.store.readers import Readers

T = TypeVar("T")
log = structlog.get_logger()
_RESERVE_EVERY_S = 60.0  # how often the reserve is taken again once it was let go
_LOOK_S = 15.0  # how often an idle writer looks whether its file is still there
_CUT = "the database has been cut short"
_UNSYNCED_FRAMES = 512 * 1024 // PAGE_BYTES  # of long work: an alarm's fsync waits for them too


class Writer:
    """Commits what is submitted: pieces of long work one by one, all else that waits together, with one fsync.

    A disk that takes nothing makes writes fail, not the thread: each next one tries anew. A damaged database is rebuilt
    from what can be read of it; one that is gone is waited for. `fault` says what was found last, empty when all was
    well. Raises StorageError when the database comes from a newer version.
    """

    def __init__(self, path: Path, readers: Readers, checkpoints: Checkpoints) -> None:
        self.fault = ""
        self.busy_since_s: float | None = None  # monotonic time at which the present write began, seconds
        self.openings = 0  # of the database so far
        self._path = path
        self._readers = readers
        self._checkpoints = checkpoints
        self._reserve = Reserve(path.parent)
        self._reserved_s = clock.now().monotonic_s
        self._connection: sqlite3.Connection | None = None
        self._seen: tuple[int, int, int] | None = None  # device, inode and size of the open file
        self._mending = False
        self._unsynced_frames = 0  # committed since the last fsync
        self._look_at_log()
        try:
            self._open(create=True)
        except DiskError as error:
            self.fault = str(error)
            log.error("storage.not_opened", reason=self.fault)
        self._jobs = Jobs()
        checkpoints.on_emptied = self._begin_log
        self.thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self.thread.start()

    def submit(
        self, write: Callable[[sqlite3.Connection], T], priority: Priority = Priority.STATE, *, durable: bool = True
    ) -> Future[T]:
        """Queue `write`; the future ends with its result once committed, or with its error and nothing written.

        An alarm may have the room that is reserved for alarms. `write` may be called twice: when the commit that it was
        part of failed. Without `durable` a power cut may take it back, with all that was committed later. After `close`
        it ends with StorageError: nobody may wait for a thread that has gone.
        """
        future: Future[T] = Future()
        if not self._jobs.put(Job(write, future, priority, durable)):
            future.set_exception(StorageError("the database is closed", where=str(self._path)))
        return future

    @property
    def missing(self) -> str:
        """Return why there is no database to write to; empty while there is one."""
        return "" if self._connection is not None else self.fault

    def mend(self, damage: str) -> None:
        """Have the database rebuilt: somebody met damage. Returns at once."""
        if not self._mending:
            self._mending = True
            self.submit(partial(self._meet, DamagedError(damage, where=str(self._path))))

    def close(self) -> None:
        """Commit what is queued, then close the database: with the last connection its log is carried over and goes."""
        self._jobs.end()
        self.thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while not self._jobs.ended:
            first = self._jobs.first(_LOOK_S)
            self.busy_since_s = clock.now().monotonic_s
            try:
                if first is None:
                    self._look()
                else:
                    self._carry_out(first, None if first.priority is Priority.WORK else self._jobs.joining)
            except Exception:  # what was told of a commit failed, not the commit: the next one must not wait for ever
                log.exception("storage.callback_failed")
            finally:
                self.busy_since_s = None

    def _look(self) -> None:
        """Let go of a file that is not there any more, also while nothing is written."""
        if self._connection is not None and (gone := self._not_at_its_place()):
            self._let_go(gone)

    def _carry_out(self, first: Job, joining: Callable[[], Job | None] | None) -> None:
        """Commit a job with those that join it; if that fails, each by itself."""
        transaction = WriteTransaction(first, joining)
        try:
            self._commit(transaction)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits; the thread must go on
            if len(transaction.jobs) > 1:
                for job in sorted(transaction.jobs, key=lambda job: job.priority):
                    self._carry_out(job, None)
                return
            first.future.set_exception(error)
            if isinstance(error, sqlite3.Error):
                log.error("storage.commit_failed", error=str(error))
        else:
            transaction.tell()

    def _begin_log(self) -> None:
        """Have the log, all carried over, begin anew now: that takes an fsync, which no alarm is to wait for."""
        self.submit(counters.touch, Priority.WORK, durable=False)

    def _commit(self, transaction: WriteTransaction) -> None:
        try:
            self._try(transaction)
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

    def _try(self, transaction: WriteTransaction) -> None:
        self._look()
        connection = self._connection or self._open(create=self.openings == 0)
        self._checkpoints.keep_within_bound()
        try:
            self._write(connection, transaction)
        except sqlite3.Error as error:
            if not (transaction.urgent and database.is_full(error) and self._make_room()):
                raise
            self._write(connection, transaction)

    def _write(self, connection: sqlite3.Connection, transaction: WriteTransaction) -> None:
        durable = transaction.jobs[0].durable or (self._unsynced_frames >= _UNSYNCED_FRAMES and self._jobs.only_work)
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        before = self._checkpoints.state.frames
        with database.transaction(connection):
            transaction.write(connection)
        written = max(0, self._checkpoints.state.frames - before)
        self._unsynced_frames = 0 if durable else self._unsynced_frames + written

    def _make_room(self) -> bool:
        """Let the reserve go and have the log begin anew; return whether there was a reserve."""
        if not self._reserve.release():
            return False
        log.warning("storage.reserve_released", reason="the disk is full")
        self._checkpoints.now()
        return True

    def _meet(self, damage: DamagedError, _connection: sqlite3.Connection) -> None:
        if self._mending:
            self._mending = False  # if it cannot be rebuilt now, whoever meets the damage next asks again
            raise damage

    # --- the file ---------------------------------------------------------------------------------------------------

    def _not_at_its_place(self) -> str:
        """Return what has become of the file that is open; empty when it is still the one at its path, and whole."""
        try:
            now = self._path.stat()
        except OSError as error:
            return f"the database is gone: {error.strerror}"
        if self._seen is None or (now.st_dev, now.st_ino) != self._seen[:2]:
            return "another file has taken the database's place"
        if now.st_size < self._seen[2]:
            return _CUT
        self._seen = (now.st_dev, now.st_ino, now.st_size)
        return ""

    def _let_go(self, reason: str) -> None:
        """Close a file that is not the database any more, or not whole.

        The log of one that is gone is set aside: it must not go into another one.
        """
        self.fault = reason
        log.error("storage.file_lost", reason=reason)
        with self._readers.none(), self._checkpoints.paused():
            if self._connection is not None:
                if reason != _CUT:
                    recovery.leave_log(self._path)  # before closing: that would delete it, or what has its name
                self._connection.close()
                self._connection = None

    def _open(self, *, create: bool) -> sqlite3.Connection:
        """Open the database, whatever a crash, a full disk or damage left of it. Raises DiskError.

        One that was there and is gone is not made anew (`create`): whoever took it away may bring it back.
        """
        if not create and not self._path.exists():
            raise DiskError(
                "cannot open the database: it is gone", where=str(self._path), hint="put it back, or restart"
            )
        try:
            connection = self._opened(create=create)
        except DamagedError as error:
            return self._rebuild(error.message)
        except DiskError:
            if not self._reserve.release():
                raise
            log.warning("storage.reserve_released", reason="the database could not be opened")
            connection = self._opened(create=create)
        self._reserve.keep()
        return self._use(connection)

    def _use(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        about = self._path.stat()
        self._seen = (about.st_dev, about.st_ino, about.st_size)
        self._connection = connection
        self.openings += 1
        return connection

    def _opened(self, *, create: bool) -> sqlite3.Connection:
        """Open and check."""
        recovery.finish(self._path)  # a crash may have come between a rebuilding and the renaming
        connection = database.connect(self._path, create=create)
        try:
            wrong = recovery.check(connection)
        except sqlite3.Error as error:
            connection.close()
            raise DiskError(f"cannot check the database: {error}", where=str(self._path)) from error
        if wrong is None:
            log.warning("storage.not_checked", limit_s=recovery.LIMIT_S)
        if wrong:
            connection.close()
            raise DamagedError(wrong, where=str(self._path))
        return connection

    def _look_at_log(self) -> None:
        """Say, and keep for whoever wants to look, when the last run's commits cannot all be read."""
        try:
            pages = recovery.unreadable_log_pages(self._path)
            kept = recovery.set_aside(self._path) if pages else ""
        except OSError as error:
            log.error("storage.log_not_checked", reason=str(error))
            return
        if pages:
            self.fault = f"the end of the write-ahead log cannot be read: {pages} pages are lost ({kept})"
            log.error("storage.log_damaged", pages=pages, kept_as=kept)

    def _rebuild(self, reason: str) -> sqlite3.Connection:
        """Save what can be read into a new database and go on with that. Raises DiskError."""
        log.error("storage.damaged", reason=reason)
        with self._readers.none(), self._checkpoints.paused():
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            tally = recovery.rebuild(self._path)
            self.fault = str(tally)
            log.error("storage.rebuilt", rows=tally.rows, lost_some_of=list(tally.incomplete), kept_as=tally.kept_as)
            self._mending = False
            return self._use(database.connect(self._path, create=False))
