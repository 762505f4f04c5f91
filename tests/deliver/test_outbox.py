"""The outbox over a real database."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_monitor.deliver.outbox import _DROP_ONE, Outbox, OutboxCounts, OutboxRow
from edge_monitor.store import database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a fresh database."""
    opened = database.connect(tmp_path / database.FILE_NAME)
    yield opened
    opened.close()


def _enqueue(outbox: Outbox, seq: int, payload: bytes = b"{}") -> int | None:
    return outbox.enqueue("t", payload, alarm_id="a", seq=seq, created_ms=7)


def test_rows_come_back_as_committed_oldest_first(connection: sqlite3.Connection) -> None:
    """`due` gives exact bytes in the order of commitment, from a cursor, up to a limit."""
    outbox = Outbox(connection)
    with database.transaction(connection):
        for seq, payload in enumerate([b"\xff\x00", b"{}", b""]):
            _enqueue(outbox, seq, payload)
    assert outbox.due(2) == [OutboxRow(1, "t", b"\xff\x00", "a", 0, 7), OutboxRow(2, "t", b"{}", "a", 1, 7)]
    assert outbox.due(10, after=2) == [OutboxRow(3, "t", b"", "a", 2, 7)]


def test_a_rolled_back_alarm_leaves_no_message(connection: sqlite3.Connection) -> None:
    """When the caller's transaction fails, neither row nor count remains."""
    outbox = Outbox(connection)

    def fail_after_enqueuing() -> None:
        with database.transaction(connection):
            _enqueue(outbox, 0)
            raise OSError("the rest of the transaction failed")

    with pytest.raises(OSError, match="the rest"):
        fail_after_enqueuing()
    assert outbox.due(10) == []
    assert outbox.counts() == OutboxCounts()


def test_the_first_bytes_of_an_event_stand(connection: sqlite3.Connection) -> None:
    """The same (topic, alarm_id, seq) again changes nothing: a payload is immutable once committed."""
    outbox = Outbox(connection)
    with database.transaction(connection):
        assert _enqueue(outbox, 0, b"first") == 1
        assert _enqueue(outbox, 0, b"second") is None
    assert [row.payload for row in outbox.due(10)] == [b"first"]
    assert outbox.counts() == OutboxCounts(due=1, bytes=5)


def test_acknowledged_rows_are_gone_and_their_ids_never_return(connection: sqlite3.Connection) -> None:
    """A row is deleted once; a second acknowledgement counts nothing; ids are not reused."""
    outbox = Outbox(connection)
    with database.transaction(connection):
        _enqueue(outbox, 0)
        outbox.acknowledge([1])
        outbox.acknowledge([1])
        assert _enqueue(outbox, 1) == 2
    assert outbox.counts() == OutboxCounts(due=1, bytes=2, sent=1)


def test_parked_rows_are_kept_but_not_due(connection: sqlite3.Connection) -> None:
    """A poison row keeps its reason and is counted once; rows behind it are due."""
    outbox = Outbox(connection)
    with database.transaction(connection):
        _enqueue(outbox, 0)
        _enqueue(outbox, 1)
        outbox.park(1, "denied")
        outbox.park(1, "again")
    assert [row.id for row in outbox.due(10)] == [2]
    assert connection.execute("SELECT parked_reason FROM outbox WHERE id = 1").fetchone()[0] == "denied"
    assert outbox.counts() == OutboxCounts(due=1, held=1, bytes=4, parked=1)


def test_the_row_cap_drops_the_oldest_and_counts_them(connection: sqlite3.Connection) -> None:
    """With room for three of five, the first two are lost, visibly."""
    outbox = Outbox(connection, max_rows=3)
    with database.transaction(connection):
        for seq in range(5):
            _enqueue(outbox, seq)
    assert [row.seq for row in outbox.due(10)] == [2, 3, 4]
    assert outbox.counts() == OutboxCounts(due=3, bytes=6, dropped=2)


def test_at_the_cap_explanations_go_before_alerts(connection: sqlite3.Connection) -> None:
    """A full outbox gives up an older explanation, then a new one, and an alert only for an alert."""
    outbox = Outbox(connection, max_rows=3)
    with database.transaction(connection):
        for topic, seq in (("alert", 0), ("explanation", 0), ("alert", 1), ("alert", 2), ("explanation", 1)):
            outbox.enqueue(f"base/pump/{topic}", b"{}", alarm_id="a", seq=seq, created_ms=7)
    assert [(row.topic, row.seq) for row in outbox.due(10)] == [("base/pump/alert", seq) for seq in (0, 1, 2)]
    with database.transaction(connection):
        outbox.enqueue("base/pump/alert", b"{}", alarm_id="a", seq=3, created_ms=7)
    assert [row.seq for row in outbox.due(10)] == [1, 2, 3]
    assert outbox.counts() == OutboxCounts(due=3, bytes=6, dropped=3, explanations_dropped=2)


def test_explanations_and_alerts_are_counted_apart(connection: sqlite3.Connection) -> None:
    """Whatever becomes of explanations is counted on its own, within the counts of all."""
    outbox = Outbox(connection)
    with database.transaction(connection):
        for seq in range(5):
            outbox.enqueue("base/pump/explanation", b"{}", alarm_id="a", seq=seq, created_ms=7)
            outbox.enqueue("base/pump/alert", b"{}", alarm_id="a", seq=seq, created_ms=7)
        outbox.acknowledge([1, 2, 4])  # an explanation, two alerts
        for row_id in (3, 5, 6):
            outbox.park(row_id, "denied")  # two explanations, an alert
    found = outbox.counts()
    assert (found.due, found.explanations_due) == (4, 2)
    assert (found.parked, found.explanations_parked) == (3, 2)
    with database.transaction(connection):
        outbox.retry([3])
        outbox.discard([5])
    found = outbox.counts()
    assert (found.due, found.explanations_due, found.explanations_parked) == (5, 3, 2)


def test_explanations_that_waited_before_they_were_counted_are(tmp_path: Path) -> None:
    """A database of schema 4 with explanations in it counts those that wait, and never less than none."""
    path = tmp_path / database.FILE_NAME
    with closing(database.connect(path, version=4)) as old, database.transaction(old):
        for topic, reason in (("alert", None), ("explanation", None), ("explanation", "denied")):
            old.execute(
                "INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms, parked_reason)"
                " VALUES (?, x'7b7d', 'a', 0, 7, ?)",
                (f"base/{reason}/{topic}", reason),
            )
    with closing(database.connect(path)) as connection:
        assert Outbox(connection).counts().explanations_due == 1
        with database.transaction(connection):
            Outbox(connection).acknowledge([1, 2])
        assert Outbox(connection).counts().explanations_due == 0


def test_the_byte_cap_drops_the_oldest_but_never_the_new_row(connection: sqlite3.Connection) -> None:
    """A row larger than the cap pushes out all others and stays itself."""
    outbox = Outbox(connection, max_bytes=10)
    with database.transaction(connection):
        for seq in range(4):
            _enqueue(outbox, seq, b"1234")
    assert [row.seq for row in outbox.due(10)] == [2, 3]
    with database.transaction(connection):
        _enqueue(outbox, 4, b"x" * 50)
    assert [row.seq for row in outbox.due(10)] == [4]
    assert outbox.counts() == OutboxCounts(due=1, bytes=50, dropped=4)


def test_a_hundred_thousand_alerts_are_not_searched_for_explanations(connection: sqlite3.Connection) -> None:
    """What is to be dropped at the cap is found by an index."""
    plan = connection.execute(f"EXPLAIN QUERY PLAN {_DROP_ONE}", (1,)).fetchall()
    assert any("outbox_explanations" in step["detail"] for step in plan)
    assert not any(step["detail"] == "SCAN outbox" for step in plan)


def test_a_parked_row_that_falls_to_the_cap_is_not_counted_twice(connection: sqlite3.Connection) -> None:
    """It was counted when it was parked."""
    outbox = Outbox(connection, max_rows=1)
    with database.transaction(connection):
        _enqueue(outbox, 0)
        outbox.park(1, "denied")
        _enqueue(outbox, 1)
    assert outbox.counts() == OutboxCounts(due=1, bytes=2, parked=1)


@given(st.lists(st.tuples(st.sampled_from(["enqueue", "acknowledge", "park"]), st.integers(0, 12)), max_size=30))
@settings(max_examples=40, deadline=None)
def test_counts_agree_with_the_table_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """Any history: the counts equal a scan, and every row is due, held, sent, parked-and-gone or dropped."""
    with tempfile.TemporaryDirectory() as folder:
        connection = database.connect(Path(folder) / database.FILE_NAME)
        outbox = Outbox(connection, max_rows=4, max_bytes=40)
        enqueued = 0
        with database.transaction(connection):
            for step, number in steps:
                if step == "enqueue":
                    enqueued += _enqueue(outbox, number, b"x" * number) is not None
                elif step == "acknowledge":
                    outbox.acknowledge([number])
                else:
                    outbox.park(number, "denied")
        due, held, size = connection.execute(
            "SELECT TOTAL(parked_reason IS NULL), TOTAL(parked_reason IS NOT NULL), TOTAL(LENGTH(payload)) FROM outbox"
        ).fetchone()
        counts = outbox.counts()
        connection.close()
    assert (counts.due, counts.held, counts.bytes) == (due, held, size)
    gone = enqueued - counts.due - counts.held
    assert counts.sent + counts.dropped <= gone <= counts.sent + counts.dropped + counts.parked
