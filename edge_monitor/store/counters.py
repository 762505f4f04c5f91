"""Counters that survive restarts: the names of those that more than one part knows, and how they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

BELIEVED_MS = "believed_ms"  # the time that ages are judged by
REMOVED_BY_AGE, REMOVED_BY_SIZE = "alarms_removed_by_age", "alarms_removed_by_size"
TRIED = "storage_tried"
# What the outbox's counters say must be what it holds.
_HELD_NOW = {
    "outbox_due": "count(*) FROM outbox WHERE parked_reason IS NULL",
    "outbox_due_explanations": "count(*) FROM outbox WHERE parked_reason IS NULL"
    " AND substr(topic, -12) = '/explanation'",
    "outbox_held": "count(*) FROM outbox WHERE parked_reason IS NOT NULL",
    "outbox_bytes": "coalesce(sum(length(payload)), 0) FROM outbox",
}


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


def count_outbox(connection: sqlite3.Connection) -> None:
    """Set the outbox's counters to what it holds, inside the caller's transaction."""
    for name, held in _HELD_NOW.items():
        connection.execute(f"INSERT OR REPLACE INTO counters (name, value) SELECT '{name}', {held}")


def continue_outbox_ids(connection: sqlite3.Connection, last: int) -> None:
    """Have the outbox's next id follow `last` and all that are there: they say what was committed before what."""
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'outbox', max(?, coalesce(max(id), 0)) FROM outbox", (last,)
    )
