"""Temporary: what salvage, image and wal do, by the names of what replaces them."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from edge_monitor.store import database, salvage
from edge_monitor.store.salvage import LIMIT_S, check, rebuild
from edge_monitor.store.salvage import snapshot as copy_in_memory
from edge_monitor.store.wal import read_wal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LIMIT_S", "check", "check_table", "copy_in_memory", "finish", "rebuild", "set_log_aside", "unreadable_log"]


_REST_S = 0.005
_STEPS = 5000  # of SQLite's between two rests, some milliseconds


def check_table(connection: sqlite3.Connection, table: str, give_up: Callable[[], bool]) -> str:
    """Return what SQLite finds wrong with a table, an empty text when nothing; half the time it rests."""

    def rest() -> bool:
        time.sleep(_REST_S)
        return give_up()

    connection.set_progress_handler(rest, _STEPS)
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check('{table}')")]
    except sqlite3.DatabaseError as error:
        return "" if database.is_interrupted(error) else str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return "" if found == ["ok"] else "; ".join(found)


def finish(path: Path) -> None:
    """Complete a rebuilding."""
    if salvage.rebuilt(path).exists():
        salvage.finish(path)


def unreadable_log(path: Path) -> tuple[int, str]:
    """Return how many pages of the log are lost, and where it is kept."""
    log_file = path.with_name(f"{path.name}-wal")
    pages = read_wal(log_file).unusable_frames
    return pages, salvage.set_aside(log_file) if pages else ""


def set_log_aside(path: Path) -> None:
    """Set the log and its index aside."""
    log_file = path.with_name(f"{path.name}-wal")
    if log_file.exists():
        salvage.set_aside(log_file)
        log_file.unlink()
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
