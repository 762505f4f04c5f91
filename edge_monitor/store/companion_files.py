"""The files beside a database that are not it: their names, and which of them nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor import clock

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
