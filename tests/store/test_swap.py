"""The swap of a damaged database for a rebuilt one, while others open the file and at every step of a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from edge_monitor.errors import DiskError
from edge_monitor.store import counters, database, recovery
from tests.store.damage import PAGE, content, rows, spoil, written_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Ends itself with SIGKILL before it touches a file in the folder for the n-th time.
KILLED = """
import os, signal, sys
from pathlib import Path
from edge_monitor.store import recovery
path, left = Path(sys.argv[1]), int(sys.argv[2])
def before(event, about):
    global left
    if event in ("open", "os.link", "os.rename", "os.remove", "os.scandir", "sqlite3.connect"):
        if str(path.parent) in str(about[0]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(before)
recovery.finish(path)
if not path.read_bytes().startswith(b"SQLite format 3"):
    recovery.rebuild(path)
"""
# Opens the file again and again in the way of its second argument; says at the end what it has seen.
OPENING = """
import collections, signal, sqlite3, sys
seen = collections.Counter()
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
print("begun", flush=True)
while not ended:
    connection = None
    try:
        connection = sqlite3.connect(sys.argv[1], uri=True, timeout=float(sys.argv[2]))
        seen[f"{connection.execute('SELECT count(*) FROM outbox').fetchone()[0]} rows"] += 1
    except sqlite3.Error as error:
        seen[str(error)] += 1
    finally:
        if connection is not None:
            connection.close()
print(dict(seen))
"""

READING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], uri=True)
connection.execute("SELECT count(*) FROM outbox").fetchall()
print("begun", flush=True)
input()
"""


LATE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0.1)
print("begun", flush=True)
input()
try:
    connection.execute("SELECT count(*) FROM outbox").fetchall()
except sqlite3.Error as error:
    print(error)
connection.close()
"""


def all_rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of what matters most."""
    return {table: content(path, table) for table in ("recordings", "normals", "generations", "outbox")}


def killed(path: Path, steps: int) -> bool:
    """Open and rebuild the database in a process that is killed after so many steps; return whether it was."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(steps)], capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def test_a_kill_at_any_step_of_a_rebuild_loses_nothing(stored: Path, tmp_path: Path) -> None:
    """The path always has the damaged file or the whole new one; the next start, killed or not, goes on from there."""
    before = all_rows(stored)
    log = written_log(stored, 5)
    spoil(stored, 0, 100)
    file = stored.read_bytes()
    steps, was_killed = 0, True
    while was_killed:
        path = tmp_path / str(steps) / stored.name
        path.parent.mkdir()
        path.write_bytes(file)
        path.with_name(f"{path.name}-wal").write_bytes(log)
        was_killed = killed(path, steps)
        assert path.stat().st_size > 0
        killed(path, steps % 7)
        assert path.stat().st_size > 0
        assert not killed(path, 1000)
        assert all_rows(path) == before
        assert rows(path, "SELECT count(*) FROM counters WHERE name LIKE 'c_'") == [(5,)]
        assert rows(path, "SELECT value FROM counters WHERE name = 'storage_rebuilt'") == [(1,)]
        kept = sorted(each for each in path.parent.iterdir() if each != path)
        assert [each.read_bytes() for each in kept] == [file, log]
        assert [".damaged-" in each.name for each in kept] == [True, True]
        steps += 1
    assert steps > 15


@contextmanager
def opening(path: Path | str, wait_s: float) -> Iterator[None]:
    """Have another process open the database again and again during the body; nobody there may find it empty."""
    argv = [sys.executable, "-c", OPENING, str(path), str(wait_s)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            seen = process.stdout.read()
    assert "'40 rows'" in seen, seen
    assert "no such table" not in seen, seen
    assert "'0 rows'" not in seen, seen


def test_no_rebuild_ends_empty_while_others_open_the_file(stored: Path) -> None:
    """200 rebuilds while two processes open the path without end: all rows are there each time, new ones stay."""
    with opening(f"file:{stored}?mode=ro", 0.02), opening(stored, 0.02):
        for number in range(200):
            spoil(stored, 0, 100, number)
            recovery.rebuild(stored)
            with closing(database.connect(stored)) as connection:
                counters.add_to_counter(connection, f"c{number}", 1)
            assert rows(stored, "SELECT count(*) FROM outbox") == [(40,)]
            assert rows(stored, "SELECT count(*) FROM counters WHERE name GLOB 'c[0-9]*'") == [(number + 1,)]


def test_who_opened_the_damaged_file_just_before_cannot_take_the_new_log(stored: Path) -> None:
    """A connection that had not read yet is refused: closed, it would delete the new file's log."""
    argv = [sys.executable, "-c", LATE, str(stored)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        spoil(stored, 10 * PAGE, 100)
        recovery.rebuild(stored)
        with closing(database.connect(stored)) as connection:
            counters.add_to_counter(connection, "committed", 1)
            told, _ = process.communicate(b"\n")
            assert stored.with_name(f"{stored.name}-wal").exists()
        assert told == b"database is locked\n"
    assert rows(stored, "SELECT value FROM counters WHERE name = 'committed'") == [(1,)]


def test_a_file_that_another_process_reads_is_left_alone(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not end in time is told in one line, and nothing changes; once it is gone all is rebuilt."""
    monkeypatch.setattr(recovery, "_WAIT_S", 0.2)
    before = all_rows(stored)
    argv = [sys.executable, "-c", READING, f"file:{stored}?mode=ro"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        spoil(stored, 0, 100)
        file = stored.read_bytes()
        with pytest.raises(DiskError, match="another process has it open"):
            recovery.rebuild(stored)
        assert stored.read_bytes() == file
        assert not list(stored.parent.glob("*.damaged-*"))
        process.communicate(b"\n")
    assert recovery.rebuild(stored).incomplete == ()
    assert all_rows(stored) == before
