"""A snapshot: the whole database as of one moment, in one file beside it, made while others go on writing."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from edge_monitor.errors import StorageError
from edge_monitor.store import checkpoints, database
from edge_monitor.store.database_files import SNAPSHOT, beside, remove_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOOK_EVERY = 1000  # virtual machine instructions between two looks whether to go on: about 1 MB of rows
_GROWTH_BYTES = 4_000_000  # of the log that may be written meanwhile, however long it is already
_LOWEST_PRIORITY = 19


@contextmanager
def snapshot(source: Path, *, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """Yield a file with all that was committed when it was begun, readable by its owner alone; it goes with the body.

    One transaction reads it all: commits go on, and are not in it. A backup in steps would begin anew with each commit
    of another connection, and never end. `cancelled` is asked again and again. While it reads, the log cannot begin
    anew: one that has become too long ends it.
    Raises StorageError when it is cancelled or ended, the disk is full, or the database cannot be read.
    """
    path = beside(source, f"{SNAPSHOT}{secrets.token_hex(4)}")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        _copy(source, path, cancelled)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        yield path
    except OSError as error:
        raise StorageError(f"no snapshot can be made: {error.strerror}", where=str(path)) from error
    finally:
        remove_database(path)


def lower_priority(niceness: int = _LOWEST_PRIORITY) -> None:
    """Have the calling thread's work wait for everybody else's; where that is forbidden, it is done as it is.

    A lower `niceness` than the default still gets on where the box is busy for long.
    A thread's I/O priority follows its niceness unless it was set (ioprio_set(2)), which the service may not.
    """
    with suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))


def _log_bytes(source: Path) -> int:
    try:
        return beside(source, "-wal").stat().st_size
    except OSError:
        return 0


def _copy(source: Path, path: Path, cancelled: Callable[[], bool]) -> None:
    most = max(checkpoints.LONGEST_BYTES, _log_bytes(source) + _GROWTH_BYTES)
    try:
        # Read-only by its mode: VACUUM INTO refuses to run under `query_only`.
        with closing(database.unprepared(source, "ro")) as connection:
            connection.set_progress_handler(lambda: 1 if cancelled() or _log_bytes(source) > most else 0, _LOOK_EVERY)
            connection.execute("VACUUM INTO ?", (str(path),))
    except sqlite3.Error as error:
        if database.is_interrupted(error) and not cancelled():
            raise StorageError(
                "the snapshot was ended: so much was written meanwhile that the log became too long",
                where=str(source),
                hint="try again when no other long work runs",
            ) from error
        if database.is_interrupted(error):
            raise StorageError("the snapshot was cancelled", where=str(source)) from error
        raise StorageError(
            f"no snapshot can be made: {error}",
            where=str(source),
            hint="`edge-monitor doctor` checks database and disk",
        ) from error
