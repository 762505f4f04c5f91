"""The database's schema: made at once, or step by step from what an older version wrote."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from edge_monitor.store import database, schema

if TYPE_CHECKING:
    from pathlib import Path


def _layout(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return [tuple(row) for row in connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name")]


def test_a_database_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """Its rows stay, and its layout is then that of a new one."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        for statement in schema._statements(schema._SCHEMA):
            connection.execute(statement)
        connection.execute("PRAGMA user_version=1")
        connection.execute("INSERT INTO counters VALUES ('outbox_sent', 7)")
    with closing(database.connect(old)) as connection, closing(database.connect(new)) as fresh:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 11
        assert connection.execute("SELECT value FROM counters WHERE name = 'outbox_sent'").fetchone()[0] == 7
        assert _layout(connection) == _layout(fresh)
