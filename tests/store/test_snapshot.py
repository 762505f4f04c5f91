"""A snapshot is the whole database of one moment, made beside its writers, or nothing is left of it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor.errors import StorageError
from edge_monitor.store import checkpoints, database
from edge_monitor.store import snapshot as snapshots
from edge_monitor.store.database_files import remove_unfinished
from edge_monitor.store.inspection import inspect
from edge_monitor.store.snapshot import lower_priority, snapshot
from tests.store.made import made

if TYPE_CHECKING:
    from pathlib import Path


def grown(path: Path, megabytes: int) -> Path:
    """Return a database that takes a while to copy, with its log beside it."""
    with closing(database.connect(made(path))) as connection, database.transaction(connection):
        connection.executemany(
            "INSERT INTO captions VALUES (?, '', ?)",
            ((str(number), "x" * 10_000) for number in range(100 * megabytes)),
        )
    return path


def test_a_snapshot_holds_the_whole_database_and_goes_with_the_body(tmp_path: Path) -> None:
    """What is in the log is in it, its owner alone can read it, and it needs no log itself."""
    path = made(tmp_path / "edge-monitor.db")
    with closing(database.connect(path)) as connection:
        connection.execute("INSERT INTO counters VALUES ('outbox_sent', 7)")
        with snapshot(path) as copy:
            assert inspect(copy) == 11
            assert oct(copy.stat().st_mode & 0o777) == "0o600"
            with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as taken:
                assert taken.execute("SELECT value FROM counters WHERE value > 0").fetchall() == [(7,)]
                assert taken.execute("SELECT count(*) FROM outbox").fetchall() == [(2,)]
                assert taken.execute("SELECT seq FROM sqlite_sequence").fetchall() == [(2,)]
        assert [each.name for each in tmp_path.glob("*.snapshot-*")] == []


def test_commits_go_on_while_a_snapshot_is_made_and_it_ends(tmp_path: Path) -> None:
    """A writer that commits again and again neither waits for the snapshot nor has it begin anew."""
    path = grown(tmp_path / "edge-monitor.db", 100)
    done = threading.Event()
    commits: list[int] = []

    def write() -> None:
        with closing(database.connect(path)) as connection:
            while not done.is_set():
                connection.execute("INSERT OR REPLACE INTO counters VALUES ('outbox_sent', ?)", (len(commits),))
                commits.append(1)
                time.sleep(0.005)  # 2 MB/s of log: on a busy box a snapshot takes ten seconds

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not commits:
            pass
        before = len(commits)
        with snapshot(path) as copy:
            during = len(commits) - before
            assert inspect(copy) == 11
    finally:
        done.set()
        writer.join()
    assert during > 0


def test_a_snapshot_that_holds_the_log_for_too_long_is_ended_and_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log keeps its bound, whoever reads."""
    path = grown(tmp_path / "edge-monitor.db", 20)
    monkeypatch.setattr(checkpoints, "LONGEST_BYTES", 0)
    monkeypatch.setattr(snapshots, "_GROWTH_BYTES", 100_000)
    with closing(database.connect(path)) as writer:

        def written() -> bool:
            writer.execute("INSERT OR REPLACE INTO captions VALUES ('a', 'd', ?)", ("x" * 200_000,))
            return False

        with pytest.raises(StorageError, match="log became too long"), snapshot(path, cancelled=written):
            pytest.fail("it was ended")
    assert [each.name for each in tmp_path.glob("*.snapshot-*")] == []


def test_a_cancelled_snapshot_ends_soon_and_leaves_nothing(tmp_path: Path) -> None:
    """Whoever asked for it is gone: a hundred megabytes are not copied for nobody."""
    path = grown(tmp_path / "edge-monitor.db", 20)
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return True

    with pytest.raises(StorageError, match="cancelled"), snapshot(path, cancelled=cancelled):
        pytest.fail("it was cancelled")
    assert len(asked) == 2  # and once for the reason
    assert [each.name for each in tmp_path.glob("*.snapshot-*")] == []


def test_no_snapshot_is_made_of_what_is_no_database(tmp_path: Path) -> None:
    """One line says so, and nothing is left."""
    path = tmp_path / "edge-monitor.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="file is not a database"), snapshot(path):
        pytest.fail("it is none")
    assert [each.name for each in tmp_path.iterdir()] == ["edge-monitor.db"]


def test_what_a_crash_left_of_snapshots_and_restores_goes_at_the_next_start(tmp_path: Path) -> None:
    """Also a second name of the database, which a restore made and had no time to use; a kept database stays."""
    path = made(tmp_path / "edge-monitor.db")
    for name in ("snapshot-1a", "snapshot-1a-journal", "restoring-2b", "restoring-2b-wal"):
        (tmp_path / f"edge-monitor.db.{name}").write_bytes(b"")
    os.link(path, tmp_path / "edge-monitor.db.before-restore-2026-01-02T030405")
    made(tmp_path / "edge-monitor.db.before-restore-2026-01-01T000000")
    remove_unfinished(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "edge-monitor.db",
        "edge-monitor.db.before-restore-2026-01-01T000000",
    ]


def test_the_thread_that_makes_it_lets_everybody_else_go_first() -> None:
    """Its niceness, and with it its I/O priority, is the lowest; other threads keep theirs."""
    found = []

    def work() -> None:
        lower_priority()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
