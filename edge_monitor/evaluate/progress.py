"""How far a long measurement is, told now and then with the time left; and nothing told twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Tell = Callable[[str], None]

_EVERY_S = 10.0  # between two lines
_FIRST_S = 2.0  # nothing is told of clips that are heard by then
_QUICK_S = 0.05  # a split that took less was not learnt: its scores were kept


class Once:
    """Tells a line the first time only: every split and every detector may have the same to say."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: set[str] = set()

    def __call__(self, line: str) -> None:
        """Tell a line."""
        if line not in self._told:
            self._told.add(line)
            self._tell(line)


class ClipProgress:
    """Tells how many of so many clips are heard."""

    def __init__(self, label: str, clips: int, tell: Tell) -> None:
        self._label = label
        self._clips = clips
        self._tell = tell
        self._begun_s = time.monotonic()
        self._next_s = self._begun_s + _FIRST_S
        self._done = self._kept = 0

    def count(self, *, was_kept: bool) -> None:
        """Take a clip that was heard, or kept from before."""
        self._done += 1
        self._kept += was_kept
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _EVERY_S
        rate = self._done / (now_s - self._begun_s)
        left_s = (self._clips - self._done) / rate
        self._tell(f"{self._label}: {self._done} of {self._clips} clips, {rate:.1f} per s, {_duration(left_s)} left")

    def end(self) -> None:
        """Tell how long it took."""
        spent_s = time.monotonic() - self._begun_s
        self._tell(f"{self._label}: {self._done} clips in {_duration(spent_s)}, {self._kept} of them from the cache")


class SplitProgress:
    """Tells which split of a machine's clips a detector learns, and of a network which epoch."""

    def __init__(self, tell: Tell, now_s: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._now_s = now_s
        self.begin("", 1)

    def begin(self, label: str, splits: int) -> None:
        """Begin so many splits of `label`, the machine and the detector."""
        self._label = label
        self._splits = splits
        self._done = self._kept = 0
        self._begun_s = self._last_s = self._now_s()
        self._next_s = self._begun_s + _EVERY_S

    def split(self) -> None:
        """Take a split that is done."""
        now_s = self._now_s()
        if self._kept == self._done and now_s - self._last_s < _QUICK_S:
            self._kept += 1
            self._begun_s = now_s  # the pace is that of the splits that are learnt
        self._done += 1
        self._last_s = now_s
        self._say([f"split {self._done} of {self._splits}"], self._done)

    def epoch(self, done: int, epochs: int) -> None:
        """Take the epochs that are done of the split under way, and how many there will be."""
        split = [f"split {self._done + 1} of {self._splits}"] if self._splits > 1 else []
        self._say([*split, f"epoch {done} of {epochs}"], self._done + done / epochs)

    def _say(self, parts: list[str], done: float) -> None:
        now_s = self._now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _EVERY_S
        if done > self._kept:
            left_s = (now_s - self._begun_s) * (self._splits - done) / (done - self._kept)
            parts = [*parts, f"{_duration(left_s)} left"]
        self._tell(f"{self._label}: {', '.join(parts)}")


def _duration(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004 - up to here seconds read better
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - up to here minutes do
