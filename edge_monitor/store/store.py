"""One node's database, for everybody who reads or changes it: readers, the one writer, checkpoints."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog

from edge_monitor import clock
from edge_monitor.errors import StorageError
from edge_monitor.store import database, recovery
from edge_monitor.store.checkpoints import Checkpoints
from edge_monitor.store.jobs import Priority
from edge_monitor.store.readers import Readers, translated
from edge_monitor.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from typing import Self

log = structlog.get_logger()
T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item
PIECE_S = 0.01  # a piece of long work writes for so long, and then commits: 50 ms are the limit
PIECE_FRAMES = 32  # and so many pages, 0.13 MB: at 12 MB/s those take 11 ms to the disk
_CHECKS = 3  # tries to look through a table
_FIRST_PIECE = 4  # items, before it is known what one costs


class Store:
    """The database at `path`. Whoever has it open for writing holds the state directory's lock.

    It is opened, and made or migrated, when it is first used; with `writes=False` it is only read.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self._writes = writes
        self._opening = threading.Lock()
        self._closed = False
        self._readers = Readers(path)
        self._checkpoints: Checkpoints | None = None
        self._writer: Writer | None = None

    def __enter__(self) -> Self:
        """Use it as a context: it is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def open(self) -> Self:
        """Open it now, made or migrated, whatever a crash, a full disk or damage left of it.

        Raises StorageError when it comes from a newer version.
        """
        self.writer  # noqa: B018 - opened when it is asked for
        return self

    @property
    def writer(self) -> Writer:
        """Return the one writer, opened when it is first asked for.

        Raises StorageError for a database that comes from a newer version, or is only read here.
        """
        with self._opening:
            if self._closed or not self._writes:
                why = "closed" if self._closed else "only read here"
                raise StorageError(f"the database is {why}", where=str(self.path))
            if self._writer is None:
                checkpoints = self._checkpoints or Checkpoints(self.path, self._readers.end_older_than)
                self._checkpoints = checkpoints
                self._writer = Writer(self.path, self._readers, checkpoints)
            return self._writer

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a read-only connection for the body; each query is read to its end at once.

        While the disk takes nothing it reads a copy in memory. Raises DamagedError (and has the database mended) when
        what is asked for cannot be read, DiskError when reading took too long and was in the way.
        """
        if self._writes:
            self.open()
        try:
            with self._readers.lend() as connection:
                yield connection
        except sqlite3.DatabaseError as error:
            if database.is_damage(error) and self._writes:
                self.writer.mend(str(error))
            if (told := translated(error, self.path)) is not None:
                raise told from error
            raise

    def submit(self, write: Callable[[sqlite3.Connection], T], priority: Priority = Priority.STATE) -> Future[T]:
        """Send a change to the writer; see `Writer.submit`."""
        writer = self._writer or self.writer
        return writer.submit(write, priority)

    def commit(self, write: Callable[[sqlite3.Connection], T], priority: Priority = Priority.STATE) -> T:
        """Send a change to the writer and return its result once committed. Raises what it raised.

        It is to take 50 ms at the most; what takes longer is written `in_pieces`.
        """
        return self.submit(write, priority).result()

    def in_pieces(self, items: Sequence[I], write: Callable[[sqlite3.Connection, Sequence[I]], object]) -> None:
        """Write items in order, in as many short commits as it takes. Each must leave a consistent state.

        What has been written survives a power cut once all is.
        """
        size, at = _FIRST_PIECE, 0
        while at < len(items):
            piece = items[at : at + size]
            at += len(piece)
            cost = self._write_piece(write, piece, last=at == len(items))
            size = max(1, min(2 * size, round(size / max(cost, 0.1))))

    def executemany(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each of these rows, `in_pieces`."""
        self.in_pieces(rows, lambda connection, piece: connection.executemany(statement, piece))

    def _write_piece(
        self, write: Callable[[sqlite3.Connection, Sequence[I]], object], piece: Sequence[I], *, last: bool
    ) -> float:
        """Commit one piece when there is room for it; return what it cost, 1: as much as it may."""
        writer, checkpoints = self.writer, self._checkpoints
        if checkpoints is None:  # no writer without them
            raise StorageError("the database is closed", where=str(self.path))
        checkpoints.wait_for_room(lambda: not writer.thread.is_alive())
        before = checkpoints.state.frames
        seconds = 0.0

        def timed(connection: sqlite3.Connection) -> None:
            nonlocal seconds
            began_s = clock.now().monotonic_s
            write(connection, piece)
            seconds = clock.now().monotonic_s - began_s

        writer.submit(timed, Priority.WORK, durable=last).result()
        return max(seconds / PIECE_S, (checkpoints.state.frames - before) / PIECE_FRAMES)

    def look_for_damage(self, give_up: Callable[[], bool]) -> str:
        """Read the whole database, table by table and at leisure; return what is wrong, and have that mended."""
        with self._readers.lend() as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        left = deque((table, 1) for table in tables)
        while left and not give_up():
            table, attempt = left.popleft()
            with self._readers.lend() as connection:
                try:
                    wrong = recovery.check(connection, table=table, give_up=give_up)
                except sqlite3.DatabaseError as error:  # a sector that the disk does not give any more
                    wrong = str(error)
            if wrong is None and attempt < _CHECKS:  # it held the log for too long
                left.append((table, attempt + 1))
            elif wrong is None:
                log.warning("storage.table_not_checked", table=table)
            elif wrong:
                log.error("storage.damage_found", table=table, wrong=wrong)
                self.writer.mend(wrong)
                return wrong
        return ""

    @property
    def alive(self) -> bool:
        """Return whether the writer goes on."""
        return self.writer.thread.is_alive()

    def close(self) -> None:
        """Commit what is queued and close all; with the last connection the log is carried over and goes."""
        with self._opening:  # not longer: what follows a commit may submit another one, in the writer's thread
            self._closed = True
        if self._checkpoints is not None:
            self._checkpoints.stop()
        if self._writer is not None:
            self._writer.close()
        with self._readers.none():  # to close the log's index would end the locks of whoever still reads
            if self._checkpoints is not None:
                self._checkpoints.close()
