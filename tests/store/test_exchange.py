"""One database takes another's place by one rename; killed anywhere, one of the two is there, whole."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor.store import database
from edge_monitor.store.database_files import KEPT, discard_kept, exchange, kept, remove_unfinished, settle
from tests.store.made import made

if TYPE_CHECKING:
    from pathlib import Path

# Kills itself before the n-th step that changes what is on the disk.
_KILLED = """
import os, signal, sys
from pathlib import Path
from edge_monitor.store import database_files as under_test
left = [int(sys.argv[2])]
def killing(step):
    def counted(*arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **named)
    return counted
os.link, os.fsync = killing(os.link), killing(os.fsync)
Path.unlink, Path.replace = killing(Path.unlink), killing(Path.replace)
under_test.settle = killing(under_test.settle)
path = Path(sys.argv[1])
under_test.exchange(path, path.with_name("edge-monitor.db.restoring-1a"))
"""


def prepared(folder: Path) -> Path:
    """Return a database whose last commit is in its log alone, and one beside it that is to take its place."""
    path = made(folder / "edge-monitor.db")
    program = "import os, sys; from edge_monitor.store import database; from pathlib import Path;"
    program += "c = database.connect(Path(sys.argv[1]));"
    program += "c.execute(\"INSERT INTO counters VALUES ('old', 1)\"); os._exit(0)"  # as a kill: the log stays
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)
    made(folder / "edge-monitor.db.restoring-1a", "INSERT INTO counters VALUES ('new', 1)")
    return path


def names(path: Path) -> list[tuple[str]]:
    """Return the counters of a whole database."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT name FROM counters WHERE value > 0").fetchall()


def test_the_new_one_is_in_place_and_the_old_one_is_kept_with_what_its_log_had(tmp_path: Path) -> None:
    """Both are whole, in one file each."""
    path = prepared(tmp_path)
    assert (tmp_path / "edge-monitor.db-wal").stat().st_size > 0
    old = exchange(path, tmp_path / "edge-monitor.db.restoring-1a")
    assert old is not None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["edge-monitor.db", old.name]
    assert (names(path), names(old)) == ([("new",)], [("old",)])
    assert discard_kept(path) == [old.name]
    assert [each.name for each in tmp_path.iterdir()] == ["edge-monitor.db"]


@pytest.mark.parametrize("step", range(12))
def test_killed_before_any_step_one_of_both_is_there_and_it_can_be_done_again(tmp_path: Path, step: int) -> None:
    """The old database with its last commit, or the new one, never a mixture; the next try ends well."""
    path = prepared(tmp_path)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path), str(step)], check=False, timeout=60)
    assert done.returncode == (-signal.SIGKILL if step < 10 else 0)
    assert names(path) in ([("old",)], [("new",)])
    remove_unfinished(path)
    made(tmp_path / "edge-monitor.db.restoring-1a", "INSERT INTO counters VALUES ('new', 1)")
    exchange(path, tmp_path / "edge-monitor.db.restoring-1a")
    assert names(path) == [("new",)]
    assert [("old",)] in [names(each) for each in kept(path)]


@pytest.mark.parametrize("step", range(10))
def test_killed_before_any_step_a_damaged_database_is_there_with_its_log(tmp_path: Path, step: int) -> None:
    """What can still be read of it is in both: in their place, or kept together."""
    path = prepared(tmp_path)
    log = (tmp_path / "edge-monitor.db-wal").read_bytes()
    path.write_bytes(b"damaged!" * 1000)
    subprocess.run([sys.executable, "-c", _KILLED, str(path), str(step)], check=False, timeout=60)
    assert path.exists()
    remove_unfinished(path)
    pairs = [(each.read_bytes(), each.with_name(f"{each.name}-wal")) for each in (path, *kept(path))]
    assert [second.read_bytes() for first, second in pairs if first == b"damaged!" * 1000] == [log]


def test_a_damaged_database_is_kept_with_its_log(tmp_path: Path) -> None:
    """What can still be read of it is in both; the log is not applied to the new one."""
    path = prepared(tmp_path)
    log = (tmp_path / "edge-monitor.db-wal").read_bytes()
    path.write_bytes(b"damaged!" * 1000)
    old = exchange(path, tmp_path / "edge-monitor.db.restoring-1a")
    assert old is not None
    assert old.read_bytes() == b"damaged!" * 1000
    assert old.with_name(f"{old.name}-wal").read_bytes() == log
    assert names(path) == [("new",)]
    assert not (tmp_path / "edge-monitor.db-wal").exists()
    discard_kept(path)
    assert [each.name for each in tmp_path.iterdir()] == ["edge-monitor.db"]


def test_a_log_whose_only_name_is_the_kept_one_s_goes_back_to_the_database(tmp_path: Path) -> None:
    """Killed before the last step of replacing one that could not be settled: its last commits are in that log."""
    path = prepared(tmp_path)
    (tmp_path / "edge-monitor.db-wal").rename(tmp_path / f"edge-monitor.db{KEPT}now-wal")
    (tmp_path / f"edge-monitor.db{KEPT}now").hardlink_to(path)
    remove_unfinished(path)
    assert names(path) == [("old",)]
    assert kept(path) == []


def test_where_there_was_none_nothing_is_kept(tmp_path: Path) -> None:
    """A new box."""
    made(tmp_path / "edge-monitor.db.restoring-1a")
    assert exchange(tmp_path / "edge-monitor.db", tmp_path / "edge-monitor.db.restoring-1a") is None
    assert [each.name for each in tmp_path.iterdir()] == ["edge-monitor.db"]


def test_a_database_that_is_settled_has_no_log_and_can_be_used_again(tmp_path: Path) -> None:
    """A daemon that starts after a kill between two steps finds everything."""
    path = prepared(tmp_path)
    assert settle(path)
    assert not (tmp_path / "edge-monitor.db-wal").exists()
    database.connect(path).close()
    assert names(path) == [("old",)]
