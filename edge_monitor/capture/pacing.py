"""The pace at which stored or simulated sound is played."""

from __future__ import annotations

import threading
import time
from typing import Literal


class Pacer:
    """Holds sound back until it is due; `max` never waits, a factor of 2 plays twice as fast as real time."""

    def __init__(self, pace: Literal["realtime", "max"] | float) -> None:
        self._factor = None if pace == "max" else 1.0 if pace == "realtime" else float(pace)
        self._stopped = threading.Event()
        self._zero: float | None = None

    @property
    def stopped(self) -> bool:
        """Return True once `stop` was called."""
        return self._stopped.is_set()

    def wait_until(self, stream_s: float) -> bool:
        """Wait until this much of the stream (seconds) would have been heard; False when stopped meanwhile."""
        if self._factor is None:
            return not self.stopped
        if self._zero is None:
            self._zero = time.monotonic()
        due = self._zero + stream_s / self._factor
        return not self._stopped.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """End every wait, from any thread."""
        self._stopped.set()
