"""Counters that survive restarts: the names of those that more than one part knows, and how they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

BELIEVED_MS = "believed_ms"  # the time that ages are judged by
REMOVED_BY_AGE, REMOVED_BY_SIZE = "alarms_removed_by_age", "alarms_removed_by_size"
TRIED = "storage_tried"


def add_to_counter(connection: sqlite3.Connection, name: str, amount: int) -> None:
    """Add to a counter, creating it at zero."""
    connection.execute(
        "INSERT INTO counters (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, amount),
    )


def set_counter(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Set a counter."""
    connection.execute("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (name, value))


def touch(connection: sqlite3.Connection) -> None:
    """Write something, so that the disk must answer."""
    set_counter(connection, TRIED, 1)
