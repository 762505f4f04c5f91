"""Connections to the one SQLite file of a node, and what its errors mean."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from edge_monitor.errors import DamagedError, DiskError, StorageError
from edge_monitor.store.schema import SCHEMA_VERSION, migrate, require_known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SCHEMA_VERSION"]
FILE_NAME = "edge-monitor.db"
_CACHE_KIB = 512  # of each connection; by default 2 MB. The operating system has the file in memory anyway
_LOG_KEPT_BYTES = 4_000_000  # to which the write-ahead log is cut when it starts anew


def connect(
    path: Path,
    *,
    read_only: bool = False,
    create: bool = True,
    version: int = SCHEMA_VERSION,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> sqlite3.Connection:
    """Open the database at `path`, creating (if `create`) and migrating it as far as schema `version`.

    With `read_only` it cannot be made to write, and is left as it is. Only the writer of `store/` opens it without, or
    whoever made a file of its own. WAL with `synchronous=FULL`: a commit that returned survives a power cut (NORMAL may
    lose the last ones). Nothing is checkpointed by a commit. Autocommit mode; use `transaction()`. The connection may
    be handed to one other thread, never shared by two.
    Raises DiskError when the file cannot be opened, DamagedError when it is damaged, StorageError when it comes from a
    newer version.
    """
    connection = None
    try:
        if read_only:
            connection = unprepared(path, "ro", factory=factory)
        else:
            _leave_newer_alone(path)
            connection = unprepared(path, "rwc" if create else "rw")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA temp_store=MEMORY")  # what a savepoint keeps: a full disk is not asked for it
            connection.execute(f"PRAGMA journal_size_limit={_LOG_KEPT_BYTES}")
        prepare(connection, str(path), read_only=read_only, version=version)
    except (sqlite3.Error, StorageError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, StorageError):
            raise
        raise opening_failed(error, path) from error
    return connection


def unprepared(
    path: Path, mode: str, *, timeout_s: float = 5.0, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """Open a file as it is, in autocommit mode; `mode` is that of sqlite.org/uri.html. Raises sqlite3.Error."""
    address = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(
        address, uri=True, isolation_level=None, timeout=timeout_s, check_same_thread=False, factory=factory
    )


def _leave_newer_alone(path: Path) -> None:
    """Raise StorageError for a newer version's database: a writing connection would move its log into its file."""
    with suppress(sqlite3.Error), closing(unprepared(path, "ro")) as connection:  # what else is wrong shows when opened
        require_known(connection, str(path))


def opening_failed(error: sqlite3.Error, path: Path) -> StorageError:
    """Return what an error at the opening of a database means."""
    if is_damage(error):
        return DamagedError(
            f"the database is damaged: {error}", where=str(path), hint="the daemon rebuilds it when it starts"
        )
    return DiskError(
        f"cannot open the database: {error}", where=str(path), hint="check the folder's owner and free space"
    )


def prepare(
    connection: sqlite3.Connection, where: str, *, read_only: bool = False, version: int = SCHEMA_VERSION
) -> None:
    """Make a fresh connection one of this program's: its settings, and (unless `read_only`) at least schema `version`.

    Raises StorageError when the database comes from a newer version, sqlite3.Error when it cannot be used.
    """
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.row_factory = sqlite3.Row
    if require_known(connection, where) < version and not read_only:
        with transaction(connection):
            migrate(connection, version)  # somebody else may have been faster: it looks again


def columns(connection: sqlite3.Connection, table: str) -> dict[str, int]:
    """Return a table's columns, none when it is not there; the number is 0 where a column is not part of the key."""
    return {row[1]: row[5] for row in connection.execute(f"PRAGMA table_info({table})")}


def is_empty(connection: sqlite3.Connection) -> bool:
    """Return whether a database has no tables yet."""
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


def is_damage(error: BaseException) -> bool:
    """Return whether an error of SQLite's says that the file is damaged."""
    return _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_full(error: BaseException) -> bool:
    """Return whether an error of SQLite's says that the disk is full."""
    return _code(error) == sqlite3.SQLITE_FULL


def is_interrupted(error: BaseException) -> bool:
    """Return whether a statement was ended from another thread."""
    return _code(error) == sqlite3.SQLITE_INTERRUPT


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF  # the primary code, sqlite.org/rescode.html


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit what the body writes as one unit, or nothing of it when it raises.

    Raises DiskError when nothing can be written at all.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if _code(error) == sqlite3.SQLITE_READONLY:
            raise DiskError("nothing can be written: the disk is full, read-only or failing") from error
        raise
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:  # whatever ends the body, a signal too: nothing of it is written
        if connection.in_transaction:  # a failed COMMIT may have rolled back, or not
            connection.execute("ROLLBACK")
        raise
