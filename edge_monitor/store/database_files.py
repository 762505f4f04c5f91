"""The files of a database and beside it: their names, which nobody needs any more, and the swap of one for another."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.durable import sync_folder
from edge_monitor.errors import StorageError, os_errors_as

if TYPE_CHECKING:
    from pathlib import Path

SNAPSHOT = ".snapshot-"  # a copy that is being made or read
RESTORING = ".restoring-"  # a backup's database on its way in
KEPT = ".before-restore-"  # what a restore replaced, with the time in its name
COMPANIONS = ("-wal", "-shm", "-journal")  # SQLite's own, of any database


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file beside a database, by what its name has more."""
    return path.with_name(path.name + suffix)


def stamp(wall_ms: int) -> str:
    """Return a moment as it stands in a file's name."""
    return clock.rfc3339(wall_ms).replace(":", "")


def remove_database(path: Path) -> None:
    """Delete a database nobody uses, with what SQLite left beside it. Raises OSError."""
    for suffix in ("", *COMPANIONS):
        beside(path, suffix).unlink(missing_ok=True)


def remove_unfinished(database: Path) -> None:
    """Delete what snapshots and restores that were cut off left. The caller holds the lock. Raises OSError."""
    for mark in (SNAPSHOT, RESTORING):
        for path in database.parent.glob(f"{database.name}{mark}*"):
            path.unlink(missing_ok=True)
    for path in kept(database):
        if database.exists() and path.samefile(database):  # cut off before the other one took its place
            own, second = (beside(each, "-wal") for each in (database, path))
            if second.exists() and not own.exists():
                second.replace(own)
            remove_database(path)


def kept(database: Path) -> list[Path]:
    """Return the databases that restores replaced, oldest first; their logs, if they have any, are not listed."""
    found = database.parent.glob(f"{database.name}{KEPT}*")
    return sorted(path for path in found if not path.name.endswith(COMPANIONS))


# --- the swap -------------------------------------------------------------------------------------------------------


def settle(path: Path) -> bool:
    """Apply a database's log to its file and remove it, so that the file alone is the database.

    Return False when that is impossible, because the file is damaged. No connection may be open. Raises OSError.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.DatabaseError:
        return False
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return not busy and mode == "delete"


def swap(path: Path, fresh: Path, old: Path) -> None:
    """Put `fresh`, which needs no log, in the place of the database `path`, which is `old` from then on, with its log.

    As often as a crash comes between. The path is never without a file: whoever connects to it then would make an empty
    one. Raises OSError.
    """
    with suppress(FileNotFoundError, FileExistsError):
        os.link(path, old)
    sync_folder(path.parent)
    with suppress(FileNotFoundError):  # it must never be applied to the new file
        beside(path, "-wal").replace(beside(old, "-wal"))
    for suffix in ("-shm", "-journal"):
        beside(path, suffix).unlink(missing_ok=True)
    sync_folder(path.parent)
    fresh.replace(path)
    sync_folder(path.parent)


def exchange(path: Path, fresh: Path) -> Path | None:
    """Put `fresh`, which needs no log, in the place of the database `path`; return where the old one is kept.

    None when there was none. No connection may be open, and the caller holds the lock. Killed between any two steps, it
    leaves the old database or the new one, whole; before the last step another name for the old one may be left, and
    for a damaged one's log: something may be read of both. Raises StorageError; then the old one is in its place.
    """
    hint = "the folder's file system must have hard links"
    with os_errors_as(StorageError, "the database cannot be replaced", where=path, hint=hint):
        there = path.exists()
        if there:
            settle(path)
        else:
            remove_database(path)
        name = KEPT + stamp(clock.now().wall_ms).partition(".")[0]
        old, number = beside(path, name), 1
        while old.exists():
            number += 1
            old = beside(path, f"{name}-{number}")
        swap(path, fresh, old)
    return old if there else None


def discard_kept(path: Path) -> list[str]:
    """Delete every database that restores replaced; return their names. Raises StorageError."""
    found = kept(path)
    for each in found:
        with os_errors_as(StorageError, "cannot be deleted", where=each):
            remove_database(each)
    return [each.name for each in found]
