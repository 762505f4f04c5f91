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
        self._ring = np.zeros(self._window, dtype=np.float32)
        self._begin()

    def _begin(self) -> None:
        """Forget the run so far: what comes next is not contiguous with it."""
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
            self._break()
        windows = []
        done = 0
        while done < len(block.samples):
            room = self._next + self._window - self._heard  # to the end of the next window
            piece = block.samples[done : done + min(room, self._window)]
            self._append(piece)
            done += len(piece)
            if self._heard == self._next + self._window:
                windows.append(self._take(block, behind=len(block.samples) - done))
                self._next += self._hop
        if block.last:
            windows += self._finish(block)
        return windows

    def _break(self) -> None:
        if self._heard and not self._cut_end:
            self.short_runs += 1
        self._begin()

    def _append(self, piece: Samples) -> None:
        at = self._heard % len(self._ring)
        first = min(len(piece), len(self._ring) - at)
        self._ring[at : at + first] = piece[:first]
        self._ring[: len(piece) - first] = piece[first:]
        self._heard += len(piece)

    def _take(self, block: AudioBlock, behind: int, frames: int | None = None) -> Window:
        """Return the newest `frames` (a window's) as a window; `behind` frames of `block` come after them."""
        frames = self._window if frames is None else frames
        at = (self._heard - frames) % len(self._ring)
        wrapped = max(0, at + frames - len(self._ring))
        samples = np.concatenate((self._ring[at : at + frames], self._ring[:wrapped]))
        end_s = block.end_s - behind / self.rate_hz
        recording_end_s = block.recording_start_s + (len(block.samples) - behind) / self.rate_hz
        self._cut_end = self._heard
        return Window(
            machine=self.machine,
            samples=samples if frames == self._window else np.resize(samples, self._window),
            rate_hz=self.rate_hz,
            start_s=end_s - frames / self.rate_hz,
            end_s=end_s,
            recording=block.recording,
            recording_start_s=recording_end_s - frames / self.rate_hz,
        )

    def _finish(self, block: AudioBlock) -> list[Window]:
        heard, unheard = self._heard, self._heard - self._cut_end
        if 0 < heard < self._window:
            windows = [self._take(block, behind=0, frames=heard)]
        elif unheard > _TAIL_OF_HOP * self._hop:
            windows = [self._take(block, behind=0)]
        else:
            windows = []
        self._begin()
        return windows


def cut(
    samples: Samples,
    rate_hz: int,
    window_s: float,
    hop_s: float,
    *,
    machine: str = "",
    recording: str | None = None,
) -> Iterator[Window]:
    """Yield the windows of a whole clip (frames,) float32 by the rules of `WindowCutter`; none of an empty clip.

    With hop = window they do not overlap, but for a right-aligned last one when more than a tenth of a window remains.
    """
    cutter = WindowCutter(machine, rate_hz, window_s, hop_s)
    size = round(window_s * rate_hz)
    for start in range(0, len(samples), size):
        block = AudioBlock(
            machine=machine,
            samples=samples[start : start + size],
            rate_hz=rate_hz,
            start_s=start / rate_hz,
            recording=recording,
            recording_start_s=start / rate_hz,
            last=start + size >= len(samples),
        )
        yield from cutter.feed(block)
