"""Cuts one machine's stream into overlapping windows; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.records import AudioBlock, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.records import Samples

# A recording's last window is right-aligned when more sound than this part of a hop would otherwise go unheard:
# less would be a second copy of the window before it (0.1 s at a hop of 1 s).
_TAIL_OF_HOP = 0.1


class WindowCutter:
    """Slides a window of `window_s` by `hop_s` over one machine's blocks, which come at `rate_hz`.

    No window spans a gap, and the boundary between two files is one. When a recording ends (`AudioBlock.last`) its last
    window is right-aligned if it would otherwise miss sound; a recording shorter than one window gives one window,
    repeated to length. Live sound shorter than a window before a gap gives nothing and is counted in `short_runs`.
    """

    def __init__(self, machine: str, rate_hz: int, window_s: float, hop_s: float) -> None:
        self.machine = machine
        self.rate_hz = rate_hz
        self.short_runs = 0  # stretches between gaps too short for a single window
        self._window = round(window_s * rate_hz)
        self._hop = round(hop_s * rate_hz)
        if self._window < 1 or self._hop < 1:
            raise ValueError("a window and a hop need at least one sample")
        self._blocks: list[Samples] = []  # the newest of the run: a window's frames, or all from the next one's start
        self._begin()

    def _begin(self) -> None:
        """Forget the run so far: what comes next is not contiguous with it."""
        self._blocks = []
        self._heard = 0  # frames of this run
        self._next = 0  # frame of the run at which the next window starts
        self._cut_end = 0  # frame of the run just after the last window

    def feed(self, block: AudioBlock) -> list[Window]:
        """Return the windows that this block completes, oldest first; mostly none, or one.

        Raises ValueError when the block is at another rate or of another machine.
        """
        if block.rate_hz != self.rate_hz or block.machine != self.machine:
            raise ValueError(f"expected {self.machine} at {self.rate_hz} Hz, not {block.machine} at {block.rate_hz} Hz")
        if block.gap:
            self.short_runs += bool(self._heard and not self._cut_end)
            self._begin()
        self._blocks.append(block.samples)
        self._heard += len(block.samples)
        windows = []
        if self._heard >= self._next + self._window or block.last:
            run = np.concatenate(self._blocks)
            while self._heard >= self._next + self._window:
                windows.append(self._take(block, run, self._next, self._window))
                self._next += self._hop
            self._blocks = [run[-self._window :]]
            if block.last:
                windows += self._finish(block, run)
        return windows

    def _take(self, block: AudioBlock, run: Samples, start: int, frames: int) -> Window:
        """Return `frames` from frame `start` of the run as a window; `run` and `block` end at its newest frame."""
        behind = self._heard - start  # from the window's start to the newest frame
        start_s = block.end_s - behind / self.rate_hz
        recording_end_s = block.recording_start_s + len(block.samples) / self.rate_hz
        self._cut_end = start + frames
        return Window(
            machine=self.machine,
            samples=np.resize(run[len(run) - behind :][:frames], self._window),  # a copy
            rate_hz=self.rate_hz,
            start_s=start_s,
            end_s=start_s + frames / self.rate_hz,
            recording=block.recording,
            recording_start_s=recording_end_s - behind / self.rate_hz,
        )

    def _finish(self, block: AudioBlock, run: Samples) -> list[Window]:
        """Return the right-aligned last window of a recording, or the only one of a short one, if there is one."""
        frames = min(self._heard, self._window)
        missing = (self._heard and not self._cut_end) or self._heard - self._cut_end > _TAIL_OF_HOP * self._hop
        windows = [self._take(block, run, self._heard - frames, frames)] if missing else []
        self._begin()
        return windows


def cut(
    samples: Samples, rate_hz: int, window_s: float, hop_s: float, *, recording: str | None = None
) -> Iterator[Window]:
    """Yield the windows of a whole clip (frames,) float32 by the rules of `WindowCutter`; none of an empty clip.

    They name no machine. With hop = window they do not overlap, but for a right-aligned last one when more than a tenth
    of a window remains.
    """
    cutter = WindowCutter("", rate_hz, window_s, hop_s)
    size = round(window_s * rate_hz)
    for start in range(0, len(samples), size):
        block = AudioBlock(
            machine="",
            samples=samples[start : start + size],
            rate_hz=rate_hz,
            start_s=start / rate_hz,
            recording=recording,
            recording_start_s=start / rate_hz,
            last=start + size >= len(samples),
        )
        yield from cutter.feed(block)
