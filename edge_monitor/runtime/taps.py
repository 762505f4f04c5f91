"""Taps into the stream, for commands that listen while the daemon runs."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.pipeline.machine_pipeline import WindowResult
    from edge_monitor.records import AudioBlock, AudioLoss

    Item = AudioBlock | AudioLoss | WindowResult

# A listener that falls this far behind misses items; the daemon never waits for it.
_ITEMS = 256


class Taps:
    """Hands each machine's items to whoever listens to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[tuple[str, queue.Queue[Item]]] = []

    @contextmanager
    def open(self, machine: str) -> Iterator[queue.Queue[Item]]:
        """Listen to a machine for as long as the body runs."""
        tap: queue.Queue[Item] = queue.Queue(_ITEMS)
        entry = (machine, tap)
        with self._lock:
            self._open.append(entry)
        try:
            yield tap
        finally:
            with self._lock:
                self._open = [each for each in self._open if each is not entry]

    def put(self, item: Item) -> None:
        """Hand an item on; never waits."""
        for machine, tap in self._open:
            if machine == item.machine:
                with suppress(queue.Full):
                    tap.put_nowait(item)
