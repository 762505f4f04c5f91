"""The exchange of a database file for another one: by one rename, with the old one kept, safe at any moment."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.durable import sync_folder
from edge_monitor.errors import StorageError
from edge_monitor.store.companion_files import COMPANIONS, KEPT, beside, kept, remove_database

if TYPE_CHECKING:
    from pathlib import Path


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


def exchange(path: Path, fresh: Path) -> Path | None:
    """Put `fresh`, which needs no log, in the place of the database `path`; return where the old one is kept.

    None when there was none. No connection may be open, and the caller holds the lock. Killed between any two steps, it
    leaves the old database or the new one, whole; before the last step another name for the old one may be left.
    Raises StorageError; then the old one is in its place.
    """
    try:
        old = _keep(path)
        for suffix in COMPANIONS:  # before the rename: a log must never be applied to another file
            beside(path, suffix).unlink(missing_ok=True)
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"the database cannot be replaced: {error.strerror}",
            where=str(path),
            hint="the folder's file system must have hard links",
        ) from error
    return old


def discard_kept(path: Path) -> list[str]:
    """Delete every database that restores replaced; return their names. Raises StorageError."""
    found = kept(path)
    try:
        for each in found:
            remove_database(each)
    except OSError as error:
        raise StorageError(f"cannot be deleted: {error.strerror}", where=str(error.filename)) from error
    return [each.name for each in found]


def _keep(path: Path) -> Path | None:
    """Give the old database a second name. A damaged one keeps its log as well: something may be read of both."""
    if not path.exists():
        return None
    settled = settle(path)
    stamp = clock.rfc3339(clock.now().wall_ms).replace(":", "").partition(".")[0]
    old, number = beside(path, KEPT + stamp), 1
    while old.exists():
        number += 1
        old = beside(path, f"{KEPT}{stamp}-{number}")
    for suffix in ("",) if settled else ("-wal", ""):
        if beside(path, suffix).exists():
            os.link(beside(path, suffix), beside(old, suffix))
    sync_folder(path.parent)
    return old
