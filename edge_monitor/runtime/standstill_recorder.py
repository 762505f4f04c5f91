"""How quiet it is when each machine stands, on its way to the disk: whenever stops have taught another level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.memory.generations import set_standing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from concurrent.futures import Future

    from edge_monitor.pipeline.machine_pipeline import WindowResult
    from edge_monitor.store.store import Store


class StandstillRecorder:
    """Belongs to one thread. `on_disk_answered` is called with why a write failed, or with an empty text.

    What the disk refuses is known until the next start, and then learnt again from as many stops as at first.
    """

    def __init__(self, store: Store, on_disk_answered: Callable[[str], None]) -> None:
        self._store = store
        self._on_disk_answered = on_disk_answered

    def add(self, result: WindowResult) -> None:
        """Write what a window's result says of it, if anything; returns at once."""
        score, standing_dbfs = result.score, result.standing_dbfs
        if score is None or standing_dbfs is None:
            return

        def settled(done: Future[None]) -> None:
            error = done.exception()
            self._on_disk_answered("" if error is None else f"a standstill could not be written: {error}")

        def write(connection: sqlite3.Connection) -> None:
            set_standing(connection, score.machine, score.generation, standing_dbfs)

        self._store.submit(write).add_done_callback(settled)
