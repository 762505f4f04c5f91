"""Sound that is stored or made, played at a pace of its own."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.records import AudioBlock


class PlayedSource(ABC):
    """A source of one machine's sound that is held back until it is due.

    `pace`: "max" never waits, a factor of 2 plays twice as fast as real time. What is played says `_sound`.
    """

    live = False

    def __init__(self, machine: str, pace: Literal["realtime", "max"] | float) -> None:
        self.machines: tuple[str, ...] = (machine,)
        self._machine = machine
        self._factor = None if pace == "max" else 1.0 if pace == "realtime" else float(pace)
        self._stopped = threading.Event()

    def items(self) -> Iterator[AudioBlock]:
        """Yield the blocks; see `Source.items`."""
        began_s = time.monotonic()
        for block in self._sound():
            wait_s = 0.0 if self._factor is None else began_s + block.end_s / self._factor - time.monotonic()
            if self._stopped.wait(max(0.0, wait_s)):
                return
            yield block

    def close(self) -> None:
        """End `items`, from any thread."""
        self._stopped.set()

    @abstractmethod
    def _sound(self) -> Iterator[AudioBlock]:
        """Yield the blocks, as fast as they are asked for."""
