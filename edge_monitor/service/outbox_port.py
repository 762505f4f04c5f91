"""The outbox as the publisher thread sees it: reads through its own connection, writes through the storage thread."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from edge_monitor import database
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.errors import DiskError
from edge_monitor.service.salvage import snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from edge_monitor.deliver.outbox import OutboxCounts, OutboxRow
    from edge_monitor.service.storage import StorageThread


class StoredOutbox:
    """Acknowledgements are gathered while the storage thread is busy: one commit deletes all that have come in."""

    def __init__(self, path: Path, storage: StorageThread) -> None:
        self.oldest_ms: int | None = None  # wall time of what waits longest for the broker, milliseconds
        self._path = path
        self._storage = storage
        self._connection: sqlite3.Connection | None = None
        self._opening = storage.openings
        self._lock = threading.Lock()
        self._acknowledged: list[int] = []
        self._deleting: list[int] = []
        self._undeleted: list[int] = []

    def due(self, limit: int, after: int) -> Sequence[OutboxRow]:
        """Return at most `limit` rows that are not parked and have an id above `after`, oldest first."""
        try:
            return self._reader().due(limit, after)
        except sqlite3.DatabaseError as error:
            if database.is_damage(error):
                self._storage.suspect()
            raise

    def counts(self) -> OutboxCounts:
        """Return the present counts, and note what waits longest."""
        reader = self._reader()
        oldest = reader.due(1)
        self.oldest_ms = oldest[0].created_ms if oldest else None
        return reader.counts()

    def acknowledge(self, row_id: int) -> None:
        """Have the row deleted."""
        with self._lock:
            first = not self._acknowledged
            self._acknowledged += [*self._undeleted, row_id]
            self._undeleted = []
        if first:
            self._storage.submit(self._delete).add_done_callback(self._deleted)

    def park(self, row_id: int, reason: str) -> None:
        """Have the row set aside for good."""
        self._storage.submit(lambda connection: Outbox(connection).park(row_id, reason))

    def close(self) -> None:
        """Close the reading connection, once the publisher has ended."""
        if self._connection is not None:
            self._connection.close()

    def _reader(self) -> Outbox:
        """Return a reader of the database as it is now: it may have been rebuilt, or have become readable."""
        if self._connection is not None and self._opening != self._storage.openings:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._opening = self._storage.openings
            try:
                self._connection = database.connect(self._path, read_only=True)
            except DiskError:
                self._connection = snapshot(self._path)
        return Outbox(self._connection)

    def _delete(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._deleting, self._acknowledged = self._acknowledged, []
        Outbox(connection).acknowledge(self._deleting)

    def _deleted(self, done: Future[None]) -> None:
        """Have rows that could not be deleted deleted with the next ones: delivered is delivered."""
        if done.exception() is not None:
            with self._lock:
                self._undeleted.extend(self._deleting)
