"""The minutes of scores on their way to the disk: gathered window by window, written twice a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.pipeline import score_minutes
from edge_monitor.records import MachineState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from concurrent.futures import Future

    from edge_monitor.pipeline.machine_pipeline import WindowResult
    from edge_monitor.store.store import Store

FLUSH_S = 30.0  # score aggregates are written this often


class ScoreMinutesRecorder:
    """Belongs to one thread. `on_disk_answered` is called with why a write failed, or with an empty text."""

    def __init__(self, store: Store, on_disk_answered: Callable[[str], None]) -> None:
        self._store = store
        self._on_disk_answered = on_disk_answered
        self._minutes = score_minutes.ScoreMinutes()
        self._flushed_s = clock.now().monotonic_s

    @property
    def lost(self) -> int:
        """Return how many minutes of scores, machine by machine, a failing disk has cost."""
        return self._minutes.lost

    def add(self, result: WindowResult) -> None:
        """Count what a window came to."""
        wall_ms = clock.now().wall_ms
        if result.score is None:
            if result.window is not None:
                self._minutes.add_fault(result.machine, wall_ms)
        elif result.state is not MachineState.INHIBITED:  # no alarm was possible: its absence promises nothing
            self._minutes.add_score(result.score, wall_ms, above=result.above)

    def flush_when_due(self) -> None:
        """Write if that was long ago; returns at once."""
        if clock.now().monotonic_s - self._flushed_s >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered; returns at once. What the disk refuses is kept for the next time."""
        self._flushed_s = clock.now().monotonic_s
        rows = self._minutes.take()
        if not rows:
            return

        def settled(done: Future[None]) -> None:
            if error := done.exception():
                self._minutes.give_back(rows)
            self._on_disk_answered("" if error is None else f"scores could not be written: {error}")

        def write(connection: sqlite3.Connection) -> None:
            score_minutes.write(connection, rows)

        self._store.submit(write).add_done_callback(settled)
