"""What the last run was writing in pieces when it ended: it does not count, and goes beside the audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.memory import changes, generations

if TYPE_CHECKING:
    from edge_monitor.store.store import Store


class InterruptedChanges:
    """Looked up at the start, before this run begins to write any such thing itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes = changes.unfinished(store)
        self._generations = generations.unfinished(store)

    def discard(self) -> None:
        """Delete it, in short commits."""
        for change in self._changes:
            changes.discard(self._store, change)
        for machine, number in self._generations:
            generations.discard(self._store, machine, number)
