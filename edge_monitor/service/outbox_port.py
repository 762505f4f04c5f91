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


class StoredOutbox:
    """Acknowledgements are gathered while the writer is busy: one commit deletes all that have come in."""

    def __init__(self, store: Store) -> None:
        self.oldest_ms: int | None = None  # wall time of what waits longest for the broker, milliseconds
        self._store = store
        self._lock = threading.Lock()
        self._acknowledged: list[int] = []
        self._deleting: list[int] = []
        self._undeleted: list[int] = []

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
            first = not self._acknowledged
            self._acknowledged += [*self._undeleted, row_id]
            self._undeleted = []
        if first:
            self._store.submit(self._delete).add_done_callback(self._deleted)

    def park(self, row_id: int, reason: str) -> None:
        """Have the row set aside for good."""
        self._store.submit(lambda connection: Outbox(connection).park(row_id, reason))

    def _delete(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._deleting, self._acknowledged = self._acknowledged, []
        Outbox(connection).acknowledge(self._deleting)

    def _deleted(self, done: Future[None]) -> None:
        """Have rows that could not be deleted deleted with the next ones: delivered is delivered."""
        if done.exception() is not None:
            with self._lock:
                self._undeleted.extend(self._deleting)
