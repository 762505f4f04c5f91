"""What the last run was writing in pieces when it ended: it does not count, and goes beside the audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_monitor.memory import changes, generations

if TYPE_CHECKING:
    from edge_monitor.store.store import Store

log = structlog.get_logger()


class InterruptedChanges:
    """Looked up at the start, before this run begins to write any such thing itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes = changes.unfinished(store)
        self._generations = generations.unfinished(store)

    def discard(self) -> None:
        """Delete it, in short commits; live sound is withdrawn, so that `normals restore` can bring it back."""
        for machine, change in self._changes:
            if change.startswith(changes.SESSION):
                withdrawn = changes.withdraw(self._store, change)
                session = change.rpartition(" ")[0]
                log.warning("memory.enrolment_withdrawn", machine=machine, session=session, normals=withdrawn)
            else:
                changes.discard(self._store, change)
        for machine, number in self._generations:
            generations.discard(self._store, machine, number)
