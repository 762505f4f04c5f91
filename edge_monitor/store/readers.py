"""Reading connections: read-only, and closed all at once when the file is swapped."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from edge_monitor import clock
from edge_monitor.errors import DiskError, StorageError
from edge_monitor.store import database, recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = structlog.get_logger()
_PATIENCE_S = 5.0  # with readers, once they are to end


class ReadingConnection(sqlite3.Connection):
    """Reads every query to its end at once: a half-read one would hold the log, and could not be ended safely."""

    def execute(self, sql: str, parameters: Any = (), /) -> Any:  # noqa: ANN401 - as sqlite3's own, but read
        """Return the rows; they are fetched as a cursor's are."""
        cursor = super().execute(sql, parameters)
        return _Rows(cursor.fetchall())


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:  # noqa: ANN401 - a row, or None
        """Return the next row; None after the last."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        return list(self._rows)


class Readers:
    """Lends reading connections of the database at `path`; thread-safe.

    When the file itself cannot be opened, a copy in memory is read: on a disk that takes nothing SQLite cannot make the
    files it needs beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._lent: dict[sqlite3.Connection, float] = {}  # since when, monotonic seconds
        self._connecting = 0  # connections that are being opened
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for the body.

        Raises StorageError and its kinds when it cannot be opened.
        """
        connection = self._opened()
        try:
            yield connection
        finally:
            with self._changed:
                self._lent.pop(connection, None)
                connection.close()  # before anybody is told: the file may be exchanged then
                self._changed.notify_all()

    def _opened(self) -> sqlite3.Connection:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._closed, _PATIENCE_S):
                raise DiskError("the database is being rebuilt", where=str(self._path), hint="try again")
            self._connecting += 1
        opened: sqlite3.Connection | None = None
        try:
            try:
                opened = database.connect(self._path, read_only=True, factory=ReadingConnection)
            except DiskError:
                opened = recovery.copy_in_memory(self._path)
        finally:
            with self._changed:
                self._connecting -= 1
                if opened is not None:
                    self._lent[opened] = clock.now().monotonic_s
                self._changed.notify_all()
        return opened

    @contextmanager
    def none(self) -> Iterator[None]:
        """Have no reading connection open during the body; new readers wait. Who reads for too long is ended."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._connecting, 2 * _PATIENCE_S)
            if not self._changed.wait_for(lambda: not self._lent, _PATIENCE_S):
                self._end(lambda _since_s: True)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()

    def end_older_than(self, seconds: float) -> int:
        """End what has been reading for longer; return how many readers that were."""
        with self._changed:
            limit_s = clock.now().monotonic_s - seconds
            return self._end(lambda since_s: since_s < limit_s, close=False)

    def _end(self, chosen: Callable[[float], bool], *, close: bool = True) -> int:
        found = [connection for connection, since_s in self._lent.items() if chosen(since_s)]
        for connection in found:
            connection.interrupt()
        if found and close:
            self._changed.wait_for(lambda: not self._lent, _PATIENCE_S)
            for connection in list(self._lent):  # idle in the hands of somebody, between two queries
                del self._lent[connection]
                connection.close()
        if found:
            log.warning("storage.readers_ended", readers=len(found))
        return len(found)


def translated(error: sqlite3.DatabaseError, path: Path) -> StorageError | None:
    """Return what a reader's error means to its caller; None when it is the caller's own mistake."""
    if database.is_damage(error):
        return database.opening_failed(error, path)
    if database.is_interrupted(error) or "closed database" in str(error):
        return DiskError("reading took too long and was ended", where=str(path), hint="try again")
    return None
