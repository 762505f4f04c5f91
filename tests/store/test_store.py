"""One writer with priorities, readers that cannot write, a bounded log, and a file that may vanish underneath."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from edge_monitor.errors import DamagedError, DiskError, StorageError
from edge_monitor.store import checkpoints, database, store, writer
from edge_monitor.store.jobs import Priority
from edge_monitor.store.store import Store
from tests.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MB = 1024 * 1024


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    """Return a fresh database."""
    with Store(tmp_path / database.FILE_NAME) as fresh:
        yield fresh.open()


def put(connection: sqlite3.Connection, names: Sequence[str], size: int = 1) -> None:
    """Write rows of so many bytes."""
    for name in names:
        connection.execute("INSERT INTO captions VALUES (?, 'd', ?)", (name, "x" * size))


def count(opened: Store) -> int:
    """Return how many rows there are."""
    with opened.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM captions").fetchone()[0])


def log_bytes(opened: Store) -> int:
    """Return how long the write-ahead log is."""
    return opened.path.with_name(f"{opened.path.name}-wal").stat().st_size


@contextmanager
def busy(opened: Store) -> Iterator[None]:
    """Keep the writer busy with a piece of long work while the body submits."""
    began, held = threading.Event(), threading.Event()

    def hold(_connection: sqlite3.Connection) -> None:
        began.set()
        held.wait(10.0)

    done = opened.submit(hold, Priority.WORK)
    assert began.wait(10.0)
    try:
        yield
    finally:
        held.set()
    done.result(10.0)


def test_alarms_go_first_with_all_that_waits_and_long_work_takes_turns_with_them(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the writer is busy others queue up: alarms and states share the next commit, pieces have their own."""
    commits: list[list[str]] = []
    transaction = database.transaction

    @contextmanager
    def noted(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with transaction(connection):
            commits.append([])
            yield connection

    sent = (
        ("piece", Priority.WORK),
        ("score", Priority.STATE),
        ("second piece", Priority.WORK),
        ("second score", Priority.STATE),
        ("alarm", Priority.ALARM),
        ("second alarm", Priority.ALARM),
    )
    with busy(opened):
        monkeypatch.setattr(database, "transaction", noted)
        waiting = [
            opened.submit(lambda _, name=name: commits[-1].append(name), priority)  # type: ignore[misc] # name is bound
            for name, priority in sent
        ]
    for each in waiting:
        each.result(10.0)
    assert commits == [["alarm", "second alarm", "score", "second score"], ["piece"], ["second piece"]]


def test_long_work_is_not_kept_waiting_by_a_stream_of_others(opened: Store) -> None:
    """Every other transaction is its own, however many alarms wait."""
    order: list[str] = []

    def alarm(_connection: sqlite3.Connection) -> None:
        order.append("alarm")
        time.sleep(0.03)  # longer than others may join
        if len(order) < 20:
            opened.submit(alarm, Priority.ALARM)

    with busy(opened):
        opened.submit(alarm, Priority.ALARM)
        work = [opened.submit(lambda _: order.append("piece"), Priority.WORK) for _ in range(3)]
    for each in work:
        each.result(10.0)
    assert order[:6] == ["alarm", "piece", "alarm", "piece", "alarm", "piece"]


def test_of_a_commit_that_is_shared_only_what_fails_is_undone(opened: Store) -> None:
    """The caller of each is told its own result."""

    def fails(connection: sqlite3.Connection) -> None:
        put(connection, ["half"])
        raise ValueError("a mistake of the caller's")

    with busy(opened):
        first = opened.submit(lambda connection: put(connection, ["first"]))
        failed = opened.submit(fails)
        doubled = opened.submit(lambda connection: put(connection, ["doubled", "doubled"]))
        last = opened.submit(lambda connection: put(connection, ["last"]))
    first.result(10.0)
    last.result(10.0)
    with pytest.raises(ValueError, match="a mistake"):
        failed.result(10.0)
    with pytest.raises(sqlite3.IntegrityError):
        doubled.result(10.0)
    assert count(opened) == 2


def test_a_statement_that_is_wrong_ends_nobody_else_s_commit(opened: Store) -> None:
    """What may be wrong with the database is tried again, each by itself."""
    with busy(opened):
        wrong = opened.submit(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"))
        right = opened.submit(lambda connection: put(connection, ["right"]))
    right.result(10.0)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        wrong.result(10.0)
    assert count(opened) == 1


def test_long_work_waits_for_the_disk_only_now_and_then(opened: Store) -> None:
    """Pieces are committed without an fsync, up to half a MB of them; the last one, and all else, with one."""
    modes: list[int] = []

    def write(connection: sqlite3.Connection, piece: Sequence[str]) -> None:
        modes.append(connection.execute("PRAGMA synchronous").fetchone()[0])
        put(connection, piece, 10_000)

    opened.in_pieces([str(number) for number in range(1000)], write)
    synced = [number for number, mode in enumerate(modes) if mode == 2]
    assert synced[-1] == len(modes) - 1
    assert 10 <= len(synced) <= 25  # of 10 MB
    assert len(modes) > 1.5 * len(synced)
    opened.commit(lambda connection: write(connection, ["state"]))
    assert modes[-1] == 2


def test_a_reading_connection_cannot_be_made_to_write(opened: Store) -> None:
    """Neither by a statement nor after a pragma."""
    with opened.reading() as connection:
        connection.execute("PRAGMA query_only=OFF")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            put(connection, ["a"])


def test_a_store_that_only_reads_has_no_writer(tmp_path: Path) -> None:
    """A command beside a running daemon: it reads, and is refused to write."""
    with Store(tmp_path / database.FILE_NAME) as other:
        other.commit(lambda connection: put(connection, ["a"]))
        with Store(tmp_path / database.FILE_NAME, writes=False) as looking:
            assert count(looking) == 1
            with pytest.raises(StorageError, match="only read here"):
                looking.commit(lambda _: None)


def test_what_fails_is_rolled_back_and_told_to_whoever_sent_it(opened: Store) -> None:
    """The next write goes on."""

    def fails(connection: sqlite3.Connection) -> None:
        put(connection, ["a"])
        raise ValueError("a mistake of the caller's")

    with pytest.raises(ValueError, match="a mistake"):
        opened.commit(fails)
    opened.commit(lambda connection: put(connection, ["b"]))
    assert count(opened) == 1


def test_long_work_is_written_in_short_pieces_and_an_alarm_comes_between(opened: Store) -> None:
    """40 MB in transactions of less than 1 MB each; an alarm sent meanwhile is committed long before the end."""
    held_s: list[float] = []
    rows = [str(number) for number in range(4000)]

    def write(connection: sqlite3.Connection, piece: Sequence[str]) -> None:
        began_s = time.monotonic()
        put(connection, piece, 10_000)
        held_s.append(time.monotonic() - began_s)

    work = threading.Thread(target=opened.in_pieces, args=(rows, write))
    work.start()
    wait_until(lambda: len(held_s) > 5, 10.0, "pieces")
    opened.submit(lambda connection: put(connection, ["the alarm"]), Priority.ALARM).result(10.0)
    pieces_before = len(held_s)
    work.join()
    assert count(opened) == 4001
    assert pieces_before < len(held_s)
    assert len(held_s) >= 40_000_000 / MB
    assert sorted(held_s)[len(held_s) // 2] < 0.05


def test_the_log_stays_within_its_bound_whoever_reads(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query without end is ended and told so when the log cannot begin anew for it; 64 MB are never passed."""
    monkeypatch.setattr(checkpoints, "_READER_S", 0.2)
    told: list[Exception] = []

    def read() -> None:
        try:
            with opened.reading() as connection:
                connection.execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, captions"
                )
        except DiskError as error:
            told.append(error)

    opened.commit(lambda connection: put(connection, ["first"]))
    reader = threading.Thread(target=read)
    reader.start()
    longest = 0
    with opened.reading() as connection:  # a query that nobody reads on holds nothing
        connection.execute("SELECT * FROM captions").fetchone()
        for number in range(9000):
            opened.commit(lambda to, number=number: put(to, [str(number)], 10_000))  # type: ignore[misc] # bound
            longest = max(longest, log_bytes(opened)) if number % 50 == 0 else longest
    reader.join(10.0)
    assert [str(error).partition(": ")[2] for error in told] == ["reading took too long and was ended (try again)"]
    assert longest < 64 * MB
    assert count(opened) == 9001


def test_a_checkpoint_that_cannot_be_made_is_told_and_tried_again(opened: Store) -> None:
    """What was committed stays in the log; the next checkpoint carries it over."""
    opened.commit(lambda connection: put(connection, ["a"], 100_000))
    checks = opened._checkpoints
    assert checks is not None
    assert checks.state.open_frames > 20
    assert checks.now().open_frames == 0


@pytest.mark.parametrize("how", ["deleted", "replaced", "cut short"])
def test_a_file_that_is_lost_is_told_and_the_next_one_is_taken(opened: Store, tmp_path: Path, how: str) -> None:
    """Writes fail and say what has become of the file, and go on once a database is there again; its log is kept."""
    opened.commit(lambda connection: put(connection, ["kept"], 200_000))
    checks = opened._checkpoints
    assert checks is not None
    checks.now()
    opened.commit(lambda connection: put(connection, ["in the log"]))
    saved = tmp_path / "saved.db"
    with closing(sqlite3.connect(f"file:{opened.path}?mode=ro", uri=True)) as source:
        source.execute("VACUUM INTO ?", (str(saved),))
    if how == "deleted":
        opened.path.unlink()
        with pytest.raises(sqlite3.OperationalError, match="cannot open the database"):
            opened.commit(lambda connection: put(connection, ["lost"]))
        assert not opened.path.exists()
        assert opened.writer.fault == "the database is gone: No such file or directory"
        saved.rename(opened.path)
    elif how == "replaced":
        saved.replace(opened.path)
    else:
        opened.writer._look()
        with opened.path.open("r+b") as file:
            file.truncate(8192)
    if how == "cut short":
        opened.commit(lambda connection: put(connection, ["afterwards"]))
        assert "has been rebuilt" in opened.writer.fault
        assert opened.commit(lambda connection: connection.execute("PRAGMA quick_check").fetchone()[0]) == "ok"
        return
    opened.commit(lambda connection: put(connection, ["afterwards"]))
    with opened.reading() as connection:
        found = {row[0] for row in connection.execute("SELECT vector_sha256 FROM captions")}
    assert found == {"kept", "in the log", "afterwards"}
    assert len(list(tmp_path.glob("*-wal.damaged-*"))) == 1


def test_a_lost_file_is_told_while_nothing_is_written(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer looks every now and then."""
    monkeypatch.setattr(writer, "_LOOK_S", 0.05)
    opened.commit(lambda _: None)
    opened.path.unlink()
    opened.submit(lambda _: None, Priority.WORK).exception(10.0)  # the writer waits anew
    wait_until(lambda: "is gone" in opened.writer.fault, 10.0, "the fault")


def test_damage_that_nobody_reads_is_found_by_the_daily_look(opened: Store) -> None:
    """A page in the middle is spoilt: the look names the table, and the database is rebuilt without what is lost."""
    opened.commit(lambda connection: put(connection, [f"{number:04d}" for number in range(400)], 3000))
    checks = opened._checkpoints
    assert checks is not None
    checks.now()
    at = opened.path.read_bytes().index(b"0200")
    with opened.path.open("r+b") as file:
        file.seek(at // 4096 * 4096)
        file.write(b"\x00" * 4096)
    assert opened.look_for_damage(lambda: False)
    wait_until(lambda: "has been rebuilt" in opened.writer.fault, 20.0, "the rebuilding")
    assert 300 < count(opened) < 400


def test_a_reader_that_meets_damage_has_it_mended(opened: Store) -> None:
    """It is refused with what to do; soon after the database is whole again."""
    opened.commit(lambda connection: put(connection, [f"{number:04d}" for number in range(400)], 3000))
    checks = opened._checkpoints
    assert checks is not None
    checks.now()
    at = opened.path.read_bytes().index(b"0200")
    with opened.path.open("r+b") as file:
        file.seek(at // 4096 * 4096)
        file.write(b"\x00" * 4096)
    with pytest.raises(DamagedError, match="damaged"), opened.reading() as connection:
        connection.execute("SELECT sum(length(text)) FROM captions").fetchone()
    wait_until(lambda: "has been rebuilt" in opened.writer.fault, 20.0, "the rebuilding")


def test_what_is_sent_after_the_end_fails_at_once(tmp_path: Path) -> None:
    """Nobody waits for a thread that has gone."""
    closed = Store(tmp_path / database.FILE_NAME)
    closed.open().close()
    with pytest.raises(StorageError, match="is closed"):
        closed.commit(lambda _: None)
    assert store.PIECE_S < 0.05
