"""Recovery: what can be read of a damaged database is saved, what is lost is named, the damaged file is kept."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor import database
from edge_monitor.errors import DamagedError, DiskError
from edge_monitor.store import recovery
from tests.store.damage import PAGE, content, rows, spoil, written_log

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("first", "size"), [(0, 16), (0, 100), (0, PAGE)])
def test_a_damaged_header_costs_nothing(stored: Path, first: int, size: int) -> None:
    """Random bytes over the file's first page: every row is saved, in the new file all is as it was."""
    tables = ("recordings", "normals", "generations", "generation_members", "outbox")
    before = {table: content(stored, table) for table in tables}
    spoil(stored, first, size)
    with pytest.raises(DamagedError):
        database.connect(stored)
    tally = recovery.rebuild(stored)
    assert tally.incomplete == ()
    assert {table: content(stored, table) for table in tables} == before
    assert (stored.parent / tally.kept_as).stat().st_size > 0
    assert rows(stored, "PRAGMA integrity_check") == [("ok",)]


def test_ids_of_the_outbox_never_come_again_after_a_rebuild(stored: Path) -> None:
    """A publisher that has read up to some id finds what is queued after the rebuild behind it."""
    spoil(stored, 0, 100)
    recovery.rebuild(stored)
    with closing(database.connect(stored)) as connection:
        row = connection.execute("INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms)"
                                 " VALUES ('t', x'00', 'b', 0, 0) RETURNING id").fetchone()  # fmt: skip
    assert row["id"] == 51
    assert rows(stored, "SELECT name, value FROM counters WHERE name LIKE 'outbox!_%' ESCAPE '!' ORDER BY name") == [
        ("outbox_bytes", 80_000), ("outbox_due", 40), ("outbox_due_explanations", 0), ("outbox_held", 0)]  # fmt: skip


@pytest.mark.parametrize("seed", range(16))
def test_damage_in_the_middle_costs_what_it_hit(stored: Path, seed: int) -> None:
    """Random bytes over two pages anywhere: the new database is whole, and says of which tables it lost something."""
    before = {table: len(content(stored, table)) for table in ("normals", "outbox")}
    pages = stored.stat().st_size // PAGE
    spoil(stored, random.Random(seed).randrange(1, pages - 2) * PAGE, 2 * PAGE, seed)  # noqa: S311 - as above
    tally = recovery.rebuild(stored)
    assert rows(stored, "PRAGMA integrity_check") == [("ok",)]
    assert rows(stored, "PRAGMA foreign_key_check") == []
    for table, count in before.items():
        left = len(content(stored, table))
        assert left == count or table in tally.incomplete
    assert tally.rows > 50


@pytest.mark.parametrize("page", [20, 21])
def test_a_lost_page_of_the_schema_costs_nothing(stored: Path, page: int) -> None:
    """The list of tables lies on three pages; what stood on the spoilt one is known from the schema itself."""
    tables = ("recordings", "normals", "generations", "generation_members", "outbox")
    before = {table: content(stored, table) for table in tables}
    spoil(stored, (page - 1) * PAGE, PAGE)
    tally = recovery.rebuild(stored)
    assert {table: content(stored, table) for table in tables} == before
    assert not set(tally.incomplete) & set(tables)


def test_normals_outlive_the_name_of_their_recording(stored: Path) -> None:
    """The page with the recordings is spoilt: the normals are there all the same, and so is their generation."""
    before = {table: content(stored, table) for table in ("normals", "generations", "generation_members")}
    [(page,)] = rows(stored, "SELECT rootpage FROM sqlite_schema WHERE name = 'recordings'")
    spoil(stored, (int(str(page)) - 1) * PAGE, PAGE)
    tally = recovery.rebuild(stored)
    assert {table: content(stored, table) for table in before} == before
    assert "recordings" in tally.incomplete
    assert {row[0] for row in rows(stored, "SELECT name FROM recordings WHERE id < 3")} == {
        "recording 1, name lost", "recording 2, name lost",
    }  # fmt: skip


def test_rows_behind_an_unreadable_page_are_saved(stored: Path) -> None:
    """One message's page is spoilt: the messages before and behind it are there."""
    at = stored.read_bytes().index(bytes([20]) * 1000) // PAGE * PAGE
    spoil(stored, at, PAGE)
    tally = recovery.rebuild(stored)
    assert "outbox" in tally.incomplete
    saved = [row[0] for row in rows(stored, "SELECT seq FROM outbox ORDER BY seq")]
    assert 36 <= len(saved) < 40
    assert {0, 39} <= set(saved)
    assert 20 not in saved


def test_a_log_is_read_as_sqlite_reads_it(stored: Path) -> None:
    """A copy in memory of the file and its log has every commit; so has what is whole of a torn one."""
    content = written_log(stored, 5)
    assert recovery.unreadable_log_pages(stored) == 0
    with closing(recovery.copy_in_memory(stored)) as copy:
        assert copy.execute("SELECT count(*) FROM counters WHERE name LIKE 'c%'").fetchone()[0] == 5
        with pytest.raises(DiskError), database.transaction(copy):
            pass
    stored.with_name(f"{stored.name}-wal").write_bytes(content[:-10])
    with closing(recovery.copy_in_memory(stored)) as copy:
        assert copy.execute("SELECT count(*) FROM counters WHERE name LIKE 'c%'").fetchone()[0] == 4
