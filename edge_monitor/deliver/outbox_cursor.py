"""The outbox as the publisher thread sees it: read, and written by the one writer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge_monitor.deliver.outbox import Outbox

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from concurrent.futures import Future

    from edge_monitor.deliver.outbox import OutboxCounts, OutboxRow
    from edge_monitor.store.store import Store


_AT_ONCE = 200  # rows deleted in one commit


class OutboxCursor:
    """Acknowledgements are gathered while the writer is busy: one commit deletes all that have come in."""

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
