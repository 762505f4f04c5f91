"""The durable outbox: rows committed with their alarm, deleted only when the broker has acknowledged them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edge_monitor.store.counters import add_to_counter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from edge_monitor.store.store import Store

# Counters, all kept inside the transaction that changes the rows. The first three say what the table holds now
# (so that the caps cost no scan); the others only ever grow.
DUE = "outbox_due"
HELD = "outbox_held"  # parked rows still in the table
BYTES = "outbox_bytes"  # of all payloads in the table
SENT = "outbox_sent"
PARKED = "outbox_parked"
DROPPED = "outbox_dropped"
_OF_BOTH_KINDS = (DUE, PARKED, DROPPED)  # there is a second counter for explanations alone
_EXPLANATIONS = "_explanations"  # behind its name

# The expression is the one of the index in database.py: a hundred thousand alerts are not searched at each commit.
_DROP_ONE = (
    "DELETE FROM outbox WHERE id = coalesce("
    "(SELECT id FROM outbox WHERE substr(topic, -12) = '/explanation' ORDER BY id LIMIT 1),"
    " (SELECT MIN(id) FROM outbox WHERE id < ?))"
    " RETURNING topic, parked_reason, length(payload) AS size"
)
_MAX_REASON = 200  # characters of a park reason
_AT_ONCE = 200  # rows deleted in one commit


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One committed message; its bytes never change."""

    id: int  # order of commitment, > 0; < 0 for a message that lives in memory only
    topic: str
    payload: bytes
    alarm_id: str
    seq: int
    created_ms: int  # wall clock, milliseconds since 1970-01-01 UTC


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A message the broker refused."""

    id: int
    topic: str
    size_bytes: int  # of the message
    alarm_id: str
    seq: int
    created_ms: int  # wall clock, milliseconds
    reason: str  # one line


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """What waits, and what became of the rest since the database was created."""

    due: int = 0  # rows that wait for the broker
    held: int = 0  # parked rows still kept
    bytes: int = 0  # of all payloads kept
    sent: int = 0
    parked: int = 0
    dropped: int = 0  # lost at the cap
    explanations_due: int = 0  # how many of those due are explanations; the others are alerts
    explanations_parked: int = 0
    explanations_dropped: int = 0


class OutboxPort(Protocol):
    """What the publisher needs of the outbox. All methods are called in the publisher's thread."""

    def due(self, limit: int, after: int) -> Sequence[OutboxRow]:
        """Return at most `limit` rows that are not parked and have an id above `after`, oldest first."""

    def acknowledge(self, row_id: int) -> None:
        """Have the row deleted. May return before that is done; must not block on the disk."""

    def park(self, row_id: int, reason: str) -> None:
        """Have the row set aside for good. May return before that is done; must not block on the disk."""

    def counts(self) -> OutboxCounts:
        """Return the present counts."""


class Outbox:
    """The outbox table through one connection; writing methods run inside the caller's `database.transaction()`.

    An alarm and its message are one commit, so neither exists without the other. At the caps the oldest
    explanations are dropped and counted, then the oldest alerts; parked rows too, which were counted when parked.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, max_rows: int = 100_000, max_bytes: int = 256_000_000
    ) -> None:
        self._connection = connection
        self._max_rows = max_rows
        self._max_bytes = max_bytes

    def enqueue(self, topic: str, payload: bytes, *, alarm_id: str, seq: int, created_ms: int) -> int | None:
        """Add a message and return its id; None when (topic, alarm_id, seq) already waits: the first bytes stand."""
        row = self._connection.execute(
            "INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (topic, alarm_id, seq) DO NOTHING RETURNING id",
            (topic, payload, alarm_id, seq, created_ms),
        ).fetchone()
        if row is None:
            return None
        self._count(topic, {DUE: 1, BYTES: len(payload)})
        self._drop_oldest(before=row["id"])
        return int(row["id"])

    def due(self, limit: int, after: int = 0) -> list[OutboxRow]:
        """Return at most `limit` rows that are not parked and have an id above `after`, oldest first."""
        rows = self._connection.execute(
            "SELECT id, topic, payload, alarm_id, seq, created_ms FROM outbox"
            " WHERE id > ? AND parked_reason IS NULL ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [OutboxRow(**row) for row in map(dict, rows)]

    def acknowledge(self, row_ids: Iterable[int]) -> None:
        """Delete delivered rows; ids that are gone already (dropped at the cap) are ignored."""
        for row_id in row_ids:
            row = self._connection.execute(
                "DELETE FROM outbox WHERE id = ? RETURNING topic, parked_reason, length(payload) AS size", (row_id,)
            ).fetchone()
            if row is not None:
                self._count(row["topic"], {HELD if row["parked_reason"] else DUE: -1, BYTES: -row["size"], SENT: 1})

    def park(self, row_id: int, reason: str) -> None:
        """Set a row aside that the broker will never take; later rows flow past it."""
        parked = self._connection.execute(
            "UPDATE outbox SET parked_reason = ? WHERE id = ? AND parked_reason IS NULL RETURNING topic",
            (reason[:_MAX_REASON] or "refused", row_id),
        ).fetchone()
        if parked is not None:
            self._count(parked["topic"], {DUE: -1, HELD: 1, PARKED: 1})

    def parked(self) -> list[ParkedRow]:
        """Return what was set aside, oldest first; without the bytes of the messages, of which there may be many."""
        rows = self._connection.execute(
            "SELECT id, topic, length(payload) AS size_bytes, alarm_id, seq, created_ms, parked_reason AS reason"
            " FROM outbox WHERE parked_reason IS NOT NULL ORDER BY id"
        )
        return [ParkedRow(**dict(row)) for row in rows]

    def retry(self, row_ids: Iterable[int]) -> int:
        """Queue parked rows again with their bytes, behind what was committed since; return how many there were."""
        retried = 0
        for row_id in row_ids:
            row = self._take_parked(row_id)
            if row is not None:
                self._connection.execute(
                    "INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms) VALUES (?, ?, ?, ?, ?)", row[1:]
                )
                self._count(row[1], {DUE: 1, BYTES: len(row[2])})
                retried += 1
        return retried

    def discard(self, row_ids: Iterable[int]) -> int:
        """Delete parked rows; return how many there were. They were counted when they were parked."""
        return sum(self._take_parked(row_id) is not None for row_id in row_ids)

    def _take_parked(self, row_id: int) -> tuple[Any, ...] | None:
        row = self._connection.execute(
            "DELETE FROM outbox WHERE id = ? AND parked_reason IS NOT NULL"
            " RETURNING id, topic, payload, alarm_id, seq, created_ms",
            (row_id,),
        ).fetchone()
        if row is None:
            return None
        self._count(row["topic"], {HELD: -1, BYTES: -len(row["payload"])})
        return tuple(row)

    def counts(self) -> OutboxCounts:
        """Return the present counts (a few indexed reads)."""
        names = {DUE: "due", HELD: "held", BYTES: "bytes", SENT: "sent", PARKED: "parked", DROPPED: "dropped"}
        names |= {name + _EXPLANATIONS: f"explanations_{names[name]}" for name in _OF_BOTH_KINDS}
        rows = self._connection.execute("SELECT name, value FROM counters WHERE name LIKE 'outbox!_%' ESCAPE '!'")
        return OutboxCounts(**{names[row["name"]]: row["value"] for row in rows if row["name"] in names})

    def _drop_oldest(self, before: int) -> None:
        counts = self.counts()
        rows, size = counts.due + counts.held, counts.bytes
        while rows > self._max_rows or size > self._max_bytes:
            if rows <= 1:  # only the new row is left: it stays, whatever its size
                return
            row = self._connection.execute(_DROP_ONE, (before,)).fetchone()
            if row is None:
                return
            held = row["parked_reason"] is not None
            change = {HELD if held else DUE: -1, BYTES: -row["size"], DROPPED: 0 if held else 1}
            self._count(row["topic"], change)
            rows, size = rows - 1, size - row["size"]

    def _count(self, topic: str, changes: dict[str, int]) -> None:
        """Count what becomes of a message of this topic."""
        for name, amount in changes.items():
            if amount:
                add_to_counter(self._connection, name, amount)
                if name in _OF_BOTH_KINDS and topic.endswith("/explanation"):
                    add_to_counter(self._connection, name + _EXPLANATIONS, amount)


class OutboxCursor:
    """The outbox as the publisher's thread sees it: read, and written by the one writer.

    Acknowledgements are gathered while the writer is busy: one commit deletes all that have come in.
    """

    def __init__(self, store: Store) -> None:
        self.oldest_ms: int | None = None  # wall time of what waits longest for the broker, milliseconds
        self._store = store
        self._lock = threading.Lock()
        self._acknowledged: list[int] = []
        self._deleting: list[int] = []
        self._submitted = False  # a write that deletes is on its way

    def due(self, limit: int, after: int) -> Sequence[OutboxRow]:
        """Return at most `limit` rows that are not parked and have an id above `after`, oldest first."""
        with self._store.reading() as connection:
            return Outbox(connection).due(limit, after)

    def counts(self) -> OutboxCounts:
        """Return the present counts, and note what waits longest."""
        with self._store.reading() as connection:
            oldest = Outbox(connection).due(1)
            self.oldest_ms = oldest[0].created_ms if oldest else None
            return Outbox(connection).counts()

    def acknowledge(self, row_id: int) -> None:
        """Have the row deleted."""
        with self._lock:
            self._acknowledged.append(row_id)
            first, self._submitted = not self._submitted, True
        if first:
            self._store.submit(self._delete).add_done_callback(self._deleted)

    def park(self, row_id: int, reason: str) -> None:
        """Have the row set aside for good."""
        self._store.submit(lambda connection: Outbox(connection).park(row_id, reason))

    def _delete(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._deleting = self._acknowledged[:_AT_ONCE]
        Outbox(connection).acknowledge(self._deleting)

    def _deleted(self, done: Future[None]) -> None:
        """Go on with what has come in meanwhile; what could not be deleted goes with that: delivered is delivered."""
        with self._lock:
            if done.exception() is None:
                del self._acknowledged[: len(self._deleting)]
            again = self._submitted = done.exception() is None and bool(self._acknowledged)
        if again:
            self._store.submit(self._delete).add_done_callback(self._deleted)
