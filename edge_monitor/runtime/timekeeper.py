"""The daemon's idea of time: steps of the wall clock are noticed and logged, and make nothing older than it is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.store.counters import BELIEVED_MS, set_counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.store.store import Store

log = structlog.get_logger()
_SAVE_S = 3600.0


class Timekeeper:
    """`tick` is called often, in the main thread; `believed_ms` may be asked from any thread.

    While the box is off, no time passes here; it is caught up with at twice the speed of time, see `clock.follow`.
    `on_step` is called after a step of the wall clock, to have everything published that carries a time.
    """

    def __init__(self, store: Store, on_step: Callable[[], None]) -> None:
        self.steps = 0  # of the wall clock, since the start
        self._store = store
        self._on_step = on_step
        self._lock = threading.Lock()
        moment = clock.now()
        self._watch = clock.StepWatch(moment)
        self._read_s = moment.monotonic_s
        self._saved_s = moment.monotonic_s - _SAVE_S
        with store.reading() as connection:
            row = connection.execute("SELECT value FROM counters WHERE name = ?", (BELIEVED_MS,)).fetchone()
        self._believed_ms = moment.wall_ms if row is None else clock.follow(row["value"], 0.0, moment.wall_ms)

    def believed_ms(self) -> int:
        """Return the time that ages are judged by, milliseconds since 1970-01-01 UTC: never later than the wall clock.

        While that is behind, so are its labels.
        """
        with self._lock:
            moment = clock.now()
            elapsed_s = moment.monotonic_s - self._read_s
            self._read_s = moment.monotonic_s
            self._believed_ms = clock.follow(self._believed_ms, elapsed_s, moment.wall_ms)
            return min(self._believed_ms, moment.wall_ms)

    def tick(self) -> None:
        """Look at the clock; after a step tell the plant anew, so that every time it holds is of the same clock."""
        moment = clock.now()
        self.believed_ms()
        if step_s := self._watch.look(moment):
            self.steps += 1
            log.warning(
                "clock.stepped", by_s=round(step_s, 1), now=clock.rfc3339(moment.wall_ms), synced=clock.synchronized()
            )
            self._on_step()
        if moment.monotonic_s - self._saved_s >= _SAVE_S:
            self._saved_s = moment.monotonic_s
            believed_ms = self._believed_ms
            self._store.submit(lambda connection: set_counter(connection, BELIEVED_MS, believed_ms))
