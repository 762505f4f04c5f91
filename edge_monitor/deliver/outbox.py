"""The durable outbox: rows committed with their alarm, deleted only when the broker has acknowledged them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_monitor.database import add_to_counter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

# Counters, all kept inside the transaction that changes the rows. The first three say what the table holds now
# (so that the caps cost no scan); the others only ever grow.
DUE = "outbox_due"
HELD = "outbox_held"  # parked rows still in the table
BYTES = "outbox_bytes"  # of all payloads in the table
SENT = "outbox_sent"
PARKED = "outbox_parked"
DROPPED = "outbox_dropped"

_MAX_REASON = 200  # characters of a park reason


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
class OutboxCounts:
    """What waits, and what became of the rest since the database was created."""

    due: int = 0  # rows that wait for the broker
    held: int = 0  # parked rows still kept
    bytes: int = 0  # of all payloads kept
    sent: int = 0
    parked: int = 0
    dropped: int = 0  # lost at the cap


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
        self._count({DUE: 1, BYTES: len(payload)})
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
                "DELETE FROM outbox WHERE id = ? RETURNING parked_reason, length(payload) AS size", (row_id,)
            ).fetchone()
            if row is not None:
                self._count({HELD if row["parked_reason"] else DUE: -1, BYTES: -row["size"], SENT: 1})

    def park(self, row_id: int, reason: str) -> None:
        """Set a row aside that the broker will never take; later rows flow past it."""
        parked = self._connection.execute(
            "UPDATE outbox SET parked_reason = ? WHERE id = ? AND parked_reason IS NULL",
            (reason[:_MAX_REASON] or "refused", row_id),
        ).rowcount
        self._count({DUE: -parked, HELD: parked, PARKED: parked})

    def counts(self) -> OutboxCounts:
        """Return the present counts (a few indexed reads)."""
        names = {DUE: "due", HELD: "held", BYTES: "bytes", SENT: "sent", PARKED: "parked", DROPPED: "dropped"}
        rows = self._connection.execute("SELECT name, value FROM counters WHERE name LIKE 'outbox!_%' ESCAPE '!'")
        return OutboxCounts(**{names[row["name"]]: row["value"] for row in rows if row["name"] in names})

    def _drop_oldest(self, before: int) -> None:
        counts = self.counts()
        rows, size = counts.due + counts.held, counts.bytes
        while rows > self._max_rows or size > self._max_bytes:
            row = self._connection.execute(
                "DELETE FROM outbox WHERE id = coalesce("
                "(SELECT MIN(id) FROM outbox WHERE id <= ? AND topic GLOB '*/explanation'),"
                " (SELECT MIN(id) FROM outbox WHERE id < ?))"
                " RETURNING parked_reason, length(payload) AS size",
                (before, before),
            ).fetchone()
            if row is None:  # only the new row is left: it stays, whatever its size
                return
            held = row["parked_reason"] is not None
            self._count({HELD if held else DUE: -1, BYTES: -row["size"], DROPPED: 0 if held else 1})
            rows, size = rows - 1, size - row["size"]

    def _count(self, changes: dict[str, int]) -> None:
        for name, amount in changes.items():
            if amount:
                add_to_counter(self._connection, name, amount)
