"""Any order of commits, acknowledgements and parkings: the outbox stays within its caps, and its sums are right."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_monitor.deliver.outbox import Outbox
from edge_monitor.store import database
from tests.fuzz.search import EXAMPLES

TOPICS = ("e/v1/s/n/pump/alert", "e/v1/s/n/fan/alert", "e/v1/s/n/pump/explanation")


class OutboxUnderFire(RuleBasedStateMachine):
    """Drives a real outbox on SQLite in memory, and keeps its own books of what was promised."""

    @initialize(rows=st.integers(1, 12), size=st.integers(1, 400))
    def open(self, rows: int, size: int) -> None:
        """Begin with an empty outbox and small caps."""
        self.connection = database.connect(":memory:")  # type: ignore[arg-type]  # SQLite's own name for memory
        self.max_rows, self.max_bytes = rows, size
        self.outbox = Outbox(self.connection, max_rows=rows, max_bytes=size)
        self.promised: dict[tuple[str, str, int], bytes] = {}
        self.last = 0

    @rule(
        topic=st.sampled_from(TOPICS),
        alarm=st.sampled_from("abc"),
        seq=st.integers(0, 9),
        payload=st.binary(max_size=200),
    )
    def commit(self, topic: str, alarm: str, seq: int, payload: bytes) -> None:
        """Commit a message; one that waits already keeps its bytes."""
        waiting = self.rows()
        with database.transaction(self.connection):
            row_id = self.outbox.enqueue(topic, payload, alarm_id=alarm, seq=seq, created_ms=0)
        if row_id is None:
            assert (topic, alarm, seq) in waiting
            return
        assert row_id > self.last
        self.last = row_id
        self.promised[topic, alarm, seq] = payload

    @rule(ids=st.lists(st.integers(-3, 60), max_size=4))
    def acknowledge(self, ids: list[int]) -> None:
        """Acknowledge rows, some of which were never there."""
        with database.transaction(self.connection):
            self.outbox.acknowledge(ids)

    @rule(row_id=st.integers(-3, 60), reason=st.text(max_size=400))
    def park(self, row_id: int, reason: str) -> None:
        """Park a row, which may be gone."""
        with database.transaction(self.connection):
            self.outbox.park(row_id, reason)

    @precondition(lambda self: hasattr(self, "outbox"))
    @invariant()
    def the_books_agree(self) -> None:
        """Compare what the counters say with what the table holds, and with what was promised."""
        rows = self.rows()
        counts = self.outbox.counts()
        parked = self.connection.execute("SELECT count(*) FROM outbox WHERE parked_reason IS NOT NULL").fetchone()[0]
        assert (counts.due, counts.held) == (len(rows) - parked, parked)
        assert counts.bytes == sum(map(len, rows.values()))
        assert len(rows) <= self.max_rows
        assert counts.bytes <= self.max_bytes or len(rows) == 1  # a message larger than the cap stays, alone
        assert all(self.promised[key] == payload for key, payload in rows.items())
        assert min(counts.sent, counts.parked, counts.dropped) >= 0

    @precondition(lambda self: hasattr(self, "outbox"))
    @invariant()
    def what_is_due_comes_in_order(self) -> None:
        """Read in pages as the publisher does: each row once, oldest first."""
        seen: list[int] = []
        while page := self.outbox.due(2, seen[-1] if seen else 0):
            seen += [row.id for row in page]
        assert seen == sorted(seen)
        assert len(seen) == self.outbox.counts().due
        assert max(Counter(seen).values(), default=1) == 1

    def rows(self) -> dict[tuple[str, str, int], bytes]:
        """Return what the table holds."""
        rows = self.connection.execute("SELECT topic, alarm_id, seq, payload FROM outbox")
        return {(row["topic"], row["alarm_id"], row["seq"]): bytes(row["payload"]) for row in rows}

    def teardown(self) -> None:
        """Close the database."""
        if hasattr(self, "connection"):
            self.connection.close()


TestOutbox = OutboxUnderFire.TestCase
TestOutbox.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None, database=None)


def test_everything_promised_is_sent_waits_is_parked_or_is_counted_as_dropped() -> None:
    """A thousand commits into an outbox of ten: nothing vanishes from the sums."""
    connection = database.connect(":memory:")  # type: ignore[arg-type]  # SQLite's own name for memory
    outbox = Outbox(connection, max_rows=10)
    for number in range(1000):
        with database.transaction(connection):
            row_id = outbox.enqueue(TOPICS[number % 3], b"{}", alarm_id=str(number), seq=0, created_ms=0)
            if number % 7 == 0:
                outbox.acknowledge([row_id or 0])
            if number % 11 == 1:
                outbox.park(row_id or 0, "refused")
    counts = outbox.counts()
    assert counts.sent + counts.due + counts.parked + counts.dropped == 1000
    connection.close()
