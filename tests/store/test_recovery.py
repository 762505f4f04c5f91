"""Recovery: what can be read of a damaged database is saved, what is lost is named, the damaged file is kept."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge_monitor.errors import DamagedError, DiskError
from edge_monitor.store import counters, database, recovery
from tests.store.damage import PAGE, content, rows, spoil, written_log

KILLED = """
import os, signal
from edge_monitor.store import recovery
with recovery._scratch(1000) as copy:
    print(copy.parent, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


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
        row = connection.execute(
            "INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms) VALUES ('t', x'00', 'b', 0, 0) RETURNING id"
        ).fetchone()
    assert row["id"] == 51
    assert rows(stored, "SELECT name, value FROM counters WHERE name LIKE 'outbox!_%' ESCAPE '!' ORDER BY name") == [
        ("outbox_bytes", 80_000),
        ("outbox_due", 40),
        ("outbox_due_explanations", 0),
        ("outbox_held", 0),
    ]


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
        "recording 1, name lost",
        "recording 2, name lost",
    }


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


def test_the_end_of_a_log_that_sqlite_will_not_read_is_counted(stored: Path) -> None:
    """A spoilt header costs all pages, a spoilt page those from there on; a torn or an older end is no loss."""
    content, frame = written_log(stored, 5), 24 + PAGE
    log = stored.with_name(f"{stored.name}-wal")
    pages = (len(content) - 32) // frame
    for damage, lost in (
        (content, 0),
        (content[:-10], 0),
        (content[: 32 + frame], 0),
        (content[:20], 0),
        (b"", 0),
        (bytes(len(content)), 0),
        (b"?" * 32 + content[32:], pages),
        (content[:16] + b"?" * 8 + content[24:], pages),
        (content[:200] + b"?" + content[201:], pages),
        (content[: -frame + 200] + b"?" + content[-frame + 201 :], 1),
    ):
        log.write_bytes(damage)
        assert recovery.unreadable_log_pages(stored) == lost
    log.unlink()
    assert recovery.unreadable_log_pages(stored) == 0


def test_a_power_cut_while_the_log_begins_anew_is_no_loss(stored: Path) -> None:
    """SQLite writes a new header over that of a log which is in the file already; old pages follow it."""
    log = stored.with_name(f"{stored.name}-wal")
    with closing(database.connect(stored)) as connection:
        for number in range(5):
            counters.add_to_counter(connection, f"c{number}", 1)
        old = log.read_bytes()
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        counters.add_to_counter(connection, "c9", 1)
        header, file = log.read_bytes()[:32], stored.read_bytes()
    assert header != old[:32]
    stored.write_bytes(file)
    log.write_bytes(header + old[32:])
    assert recovery.unreadable_log_pages(stored) == 0


def test_a_generation_whose_normals_are_lost_gives_way_to_the_newest_that_can_score(stored: Path) -> None:
    """Of the active generation 2 only k normals are left: it goes, generation 1 takes over, the loss is named."""
    with closing(database.connect(stored)) as connection:
        columns = ", ".join(row["name"] for row in connection.execute("PRAGMA table_info(generations)"))
        connection.execute("UPDATE generations SET active = 0")
        second = columns.replace("number", "2").replace("active", "1")
        connection.execute(f"INSERT INTO generations ({columns}) SELECT {second} FROM generations")  # noqa: S608 - as above
        connection.execute("INSERT INTO generation_members SELECT machine, 2, id FROM normals ORDER BY id LIMIT 4")
        connection.execute("PRAGMA foreign_keys=OFF")  # rows that point to what is lost, as damage leaves them
        connection.execute("INSERT INTO generation_members VALUES ('pump', 2, 9999)")
        connection.execute("INSERT INTO alarm_windows VALUES ('lost', 1, 0, '', x'')")
    before = {table: content(stored, table) for table in ("recordings", "normals")}
    spoil(stored, 0, 100)
    tally = recovery.rebuild(stored)
    assert tally.incomplete == ("alarm_windows", "generation_members", "generations")
    assert rows(stored, "SELECT number, active FROM generations") == [(1, 1)]
    assert rows(stored, "SELECT DISTINCT number FROM generation_members") == [(1,)]
    assert {table: content(stored, table) for table in before} == before
    assert rows(stored, "PRAGMA foreign_key_check") == []


def test_a_copy_that_a_killed_process_left_in_memory_is_removed(stored: Path) -> None:
    """The next copy removes it: a daemon that is killed again and again must not fill the memory."""
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.exists()
    with closing(recovery.copy_in_memory(stored)) as copy:
        assert copy.execute("SELECT count(*) FROM outbox").fetchone()[0] == 40
    assert not left.exists()
    assert not list(left.parent.glob(f"edge-monitor-{os.getpid()}-copy-*"))
