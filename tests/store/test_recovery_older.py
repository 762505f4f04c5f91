"""Damaged databases of older schemas: saved like those of the newest, and brought up to date."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor.errors import DamagedError
from edge_monitor.store import database, recovery

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096
_SINCE_7 = {"out_of_use", "score_rollups", "rollups_due"}
OF_LATER_SCHEMAS = {
    1: {"explanations", "captions", "llm_days", "machines"} | _SINCE_7,
    2: {"machines"} | _SINCE_7,
    3: _SINCE_7,
    4: _SINCE_7,
}


def older(path: Path, version: int) -> Path:
    """Make a database of an older schema, with rows in it."""
    with closing(database.connect(path, version=version)) as connection:
        connection.execute(
            "INSERT INTO recordings (machine, name, sha256, seconds, added_ms) VALUES ('fan', 'a', 'b', 9, 5)"
        )
        connection.execute("INSERT INTO inhibitions (machine, until_ms) VALUES ('fan', 1000), ('pump', 2000)")
        for seq in range(50):
            connection.execute(
                "INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms) VALUES ('t', ?, 'a', ?, 0)",
                (bytes(2000), seq),
            )
        if version > 1:
            connection.execute("INSERT INTO captions VALUES ('v', 'd', 'Sounds like a fan.')")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version
    return path


def spoil(path: Path, size: int) -> None:
    """Write random bytes over the beginning of a file."""
    with path.open("r+b") as file:
        file.write(random.Random(0).randbytes(size))  # noqa: S311 - any bytes will do


def rows(connection: sqlite3.Connection, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    return [tuple(row) for row in connection.execute(query)]


def expect_all(connection: sqlite3.Connection) -> None:
    """Assert that every row of the first schema is there, in the newest."""
    assert rows(connection, "PRAGMA user_version") == [(11,)]
    assert rows(connection, "SELECT * FROM inhibitions ORDER BY machine") == [
        ("fan", 1000, 86400.0),
        ("pump", 2000, 86400.0),
    ]
    assert rows(connection, "SELECT count(*), count(DISTINCT seq) FROM outbox") == [(50, 50)]
    assert rows(connection, "SELECT name FROM machines") == [("fan",)]
    assert rows(connection, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [16, 100, PAGE])
def test_a_damaged_database_of_an_older_schema_is_saved_and_brought_up_to_date(
    tmp_path: Path, version: int, size: int
) -> None:
    """Random bytes over the first page of an older version's database cost no row; what is unknown is said."""
    path = older(tmp_path / "old.db", version)
    if version >= 3:  # which gained its rows by migration or from the daemon
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO machines VALUES ('fan', 'Fan', 'machine', 3)")
    spoil(path, size)
    with pytest.raises(DamagedError):
        database.connect(path)
    with closing(recovery.copy_in_memory(path)) as copy:
        expect_all(copy)
    tally = recovery.rebuild(path)
    assert set(tally.incomplete) == (OF_LATER_SCHEMAS[version] if size == PAGE else set())
    with closing(database.connect(path)) as connection:
        expect_all(connection)
        captions = [] if version == 1 else [("Sounds like a fan.",)]
        assert rows(connection, "SELECT text FROM captions") == captions


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_migrated_database_that_lost_its_first_page_says_what_it_cannot_find(tmp_path: Path, version: int) -> None:
    """Its rows of the first schema are saved; tables that came later are there, or named as lost."""
    path = older(tmp_path / "old.db", version)
    with closing(database.connect(path)) as connection:
        connection.execute("INSERT INTO llm_days VALUES ('2026-01-31', 3)")
        connection.execute("INSERT OR IGNORE INTO machines VALUES ('fan', 'fan', 'machine', 3)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(path, PAGE)
    tally = recovery.rebuild(path)
    with closing(database.connect(path)) as connection:
        expect_all(connection)
        saved = rows(connection, "SELECT requests FROM llm_days") == [(3,)]
    assert saved or "llm_days" in tally.incomplete
