"""What a node has committed, written down by SQLite itself: a trigger copies each outbox row in its own transaction.

The product knows nothing of it. Rows stay when the outbox's are deleted, so that a test can compare, byte by byte, what
was promised with what arrived.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.store.database import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_TRIGGER = """
CREATE TABLE IF NOT EXISTS ledger (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, alarm_id TEXT NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL,
  UNIQUE (topic, alarm_id, seq)
);
CREATE TRIGGER IF NOT EXISTS keep_ledger AFTER INSERT ON outbox BEGIN
  INSERT OR IGNORE INTO ledger VALUES (NEW.id, NEW.topic, NEW.alarm_id, NEW.seq, NEW.payload);
END;
"""


_LONG_AGO = 1_000_000_000  # before any id of the new database


@dataclass(frozen=True, slots=True)
class Committed:
    """One message that a transaction of the node has promised to the plant."""

    id: int  # order of commitment
    topic: str
    alarm_id: str
    seq: int
    payload: bytes


def keep_ledger(state: Path) -> None:
    """Have everything written down from now on; the database must exist, and nobody use it."""
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        connection.executescript(_TRIGGER)


def keep_ledger_anew(state: Path, known: Iterable[Committed]) -> None:
    """Have everything written down again after the database was rebuilt: what is known, what waits, what comes.

    A daemon may run, but nothing it has promised since may have left the outbox.
    """
    keep_ledger(state)
    with closing(sqlite3.connect(state / FILE_NAME, timeout=10.0)) as connection, connection:
        connection.execute("DELETE FROM ledger")
        before = [(row.id - _LONG_AGO, row.topic, row.alarm_id, row.seq, row.payload) for row in known]
        connection.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?)", before)
        connection.execute(
            "INSERT OR IGNORE INTO ledger SELECT id, topic, alarm_id, seq, payload FROM outbox ORDER BY id"
        )


def read_ledger(state: Path) -> list[Committed]:
    """Return everything committed so far, in order."""
    with closing(sqlite3.connect(f"file:{state / FILE_NAME}?mode=ro", uri=True, timeout=10.0)) as connection:
        rows = connection.execute("SELECT id, topic, alarm_id, seq, payload FROM ledger ORDER BY id")
        return [Committed(*row) for row in rows]
