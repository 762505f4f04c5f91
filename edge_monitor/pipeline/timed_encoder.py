"""The daemon's encoder: counts how long each window took."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.encode.encoder import Encoder

if TYPE_CHECKING:
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.records import Embedding, Window

# From a window of the spectral bundle on a PC (4 ms) to one that a hop of 1 s cannot wait for.
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class TimedEncoder(Encoder):
    """Encodes in one thread; what it has counted may be read from any."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        super().__init__(bundle, threads)
        self.last_s = 0.0
        self.total_s = 0.0
        self.windows = [0] * (len(BOUNDS_S) + 1)  # how many took up to each of BOUNDS_S, and longer than the last

    def embed_window(self, window: Window) -> Embedding:
        """Return one window's embedding, as `Encoder`."""
        began_s = clock.now().monotonic_s
        embedding = super().embed_window(window)
        self.last_s = clock.now().monotonic_s - began_s
        self.total_s += self.last_s
        self.windows[bisect_left(BOUNDS_S, self.last_s)] += 1
        return embedding
