"""Is the machine running? A level gate with hysteresis and a settling time; pure."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.quality import level_dbfs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_monitor.records import AudioBlock, Samples, Window

_PIECE_S = 0.25  # the gate decides this finely, so a window that straddles a stop or a start is known as such
# Below the gate at least three quarters of the power are gone that the quietest normal moment had. Losing the flow
# takes one source away and leaves shaft, drive and background: 1.5 to 4 dB in the simulator (at 6 dB less flow noise).
# Switching off leaves the background alone. What a level cannot tell apart, a run topic from the plant can.
_MARGIN_DB = 6.0
_HYSTERESIS_DB = 3.0  # half the margin: a start is believed halfway back to the quietest normal moment
# One stray dropout among hundreds of enrolled windows must not disable the gate; of fewer than 100 it is the minimum.
_QUANTILE = 0.01
# A plant that says "stopped" of a machine as loud as it is when it runs, nearly all the time: one of the two is wrong.
# So is one that has it start again and again before it has settled. Both are told within a minute.
_DOUBTED_S = 45.0
_DOUBTED_SHARE = 0.9
_MOST_STARTS = 3


class Running(Enum):
    """What the gate says about a window; only RUNNING windows are scored."""

    RUNNING = "running"
    SETTLING = "settling"
    NOT_RUNNING = "not-running"


def quietest_dbfs(samples: Samples, rate_hz: int) -> float:
    """Return the level of the quietest quarter second of a window (frames,), dBFS: what `learn_gate` takes."""
    size = round(_PIECE_S * rate_hz)
    if len(samples) < size:
        return level_dbfs(samples)
    pieces = samples[: len(samples) // size * size].reshape(-1, size)  # (piece, frame)
    return min(level_dbfs(piece) for piece in pieces)


def learn_gate(quietest: Iterable[float]) -> float | None:
    """Return the level below which the machine is not running, dBFS, or None when nothing was enrolled.

    `quietest` holds `quietest_dbfs` of every enrolled window. The gate lies 6 dB below the quietest normal moment, so
    that no enrolled sound counts as not running; a machine that pauses by itself (a valve) gets one below its pauses.
    """
    levels = np.array([level for level in quietest if math.isfinite(level)], dtype=np.float64)
    if not len(levels):
        return None
    return float(np.quantile(levels, _QUANTILE, method="lower")) - _MARGIN_DB


class RunningGate:
    """Follows one machine's level through its blocks and says which windows may be scored.

    `gate_dbfs` None means always running. What the plant says (`told`) outweighs the level for `max_age_s`. `settle_s`
    is not scored after each observed start; a stream that begins with the machine running has no start to settle from.
    The state is kept across gaps: what was off stays off until heard.
    """

    def __init__(self, gate_dbfs: float | None, settle_s: float, *, max_age_s: float | None = None) -> None:
        self.gate_dbfs = gate_dbfs
        self.settle_s = settle_s
        self.told: bool | None = None  # what the plant's run or speed topic says; None: nothing yet
        self.off_since_s: float | None = None  # stream time since when it has not run; None: it runs
        self._max_age_s = math.inf if max_age_s is None else max_age_s
        self._told_s: float | None = None  # stream time of the first block since then
        self._running = self._loud = True
        self._off_until_s = -math.inf  # stream time up to which the machine was last heard off
        self._undecided: Samples = np.zeros(0, dtype=np.float32)  # less than a quarter second, waiting for the rest
        # Since it was last scored, whatever was unclear or lost meanwhile:
        self._stopped = False  # the plant's last word was that it stands still
        self._starts = 0  # by the plant's word
        self._first_start_s = self._last_start_s = 0.0
        self._against: deque[bool] = deque(maxlen=round(_DOUBTED_S / _PIECE_S))  # of each piece: as loud as running

    def tell(self, running: bool | None) -> None:
        """Take what the plant says from the next block on; None: it says nothing any more."""
        self.told, self._told_s = running, None

    def hear(self, block: AudioBlock) -> None:
        """Take a block in, in stream order, before the windows that end in it are judged."""
        if self.told is not None:
            self._told_s = block.end_s if self._told_s is None else self._told_s
            if block.end_s - self._told_s > self._max_age_s:
                self.tell(None)
        if self.told is not None:
            self._heed(self.told, block.end_s)
        if self.gate_dbfs is not None:
            self._follow(block, self.gate_dbfs)
        if self.told is not None:
            self._set(self.told, block.end_s)
        elif self.gate_dbfs is None:
            self._set(True, block.end_s)

    def _heed(self, told: bool, end_s: float) -> None:
        """Take note of what may be doubted in the plant's word; a level may flicker, a door slam."""
        if told:
            self._against.clear()
        if told and self._stopped:
            if not self._starts or not self._starts_again(end_s):
                self._starts, self._first_start_s = 0, end_s
            self._starts, self._last_start_s = self._starts + 1, end_s
        self._stopped = not told

    def _follow(self, block: AudioBlock, gate_dbfs: float) -> None:
        undecided = block.samples if block.gap else np.concatenate((self._undecided, block.samples))
        size = round(_PIECE_S * block.rate_hz)
        whole = len(undecided) // size * size
        for end in range(size, whole + 1, size):
            level = level_dbfs(undecided[end - size : end])
            self._loud = level >= gate_dbfs + (0.0 if self._loud else _HYSTERESIS_DB)
            if self.told is None:
                self._set(self._loud, block.end_s - (len(undecided) - end) / block.rate_hz)
            if self._stopped:
                self._against.append(level >= gate_dbfs + _MARGIN_DB)
        self._undecided = undecided[whole:]

    def _set(self, running: bool, end_s: float) -> None:
        if running:
            self.off_since_s = None
        else:
            self._off_until_s = end_s
            self.off_since_s = end_s if self.off_since_s is None else self.off_since_s
        self._running = running

    def judge(self, window: Window) -> Running:
        """Return what a window is whose blocks have all been heard: RUNNING only if all of it was."""
        if self.gate_dbfs is None and self.told is None:
            return Running.RUNNING
        if not self._running or (self.told is None and self._ends_quiet(window)):
            return Running.NOT_RUNNING
        if window.start_s < self._off_until_s + self.settle_s:
            return Running.SETTLING
        self._starts, self._stopped = 0, False
        self._against.clear()
        return Running.RUNNING

    def quiet(self, level_dbfs: float) -> bool:
        """Return whether a level is below the gate, whatever the plant says; never without one."""
        return self.gate_dbfs is not None and level_dbfs < self.gate_dbfs

    def doubt(self, at_s: float) -> str | None:
        """Return in one line why a machine that is not scored, at this stream time, may run all the same; or None."""
        loud = len(self._against) == self._against.maxlen and sum(self._against) >= _DOUBTED_SHARE * len(self._against)
        if loud and self.told is False:
            return "the run topic says that the machine stands still, but it is as loud as when it ran: which is right?"
        often = self._starts >= _MOST_STARTS and at_s - self._first_start_s > max(_DOUBTED_S, 2 * self.settle_s)
        if often and self._starts_again(at_s):
            return f"the run topic stops it before it settles, {self._starts} times now: it is never scored (settle_s?)"
        return None

    def _starts_again(self, at_s: float) -> bool:
        """Return whether starts go on at the pace they had; one start has none. A longer standstill is one."""
        if self._starts <= 1:
            return True
        pace_s = (self._last_start_s - self._first_start_s) / (self._starts - 1)
        return at_s - self._last_start_s <= max(_DOUBTED_S + self.settle_s, 2 * pace_s)

    def _ends_quiet(self, window: Window) -> bool:
        """Return whether the window's last quarter second, which may not be decided yet, is already off."""
        tail = window.samples[-round(_PIECE_S * window.rate_hz) :]
        return self.quiet(level_dbfs(tail))


_SPOKEN = {
    **dict.fromkeys(("true", "on", "run", "running", "start", "started", "yes"), True),
    **dict.fromkeys(("false", "off", "stop", "stopped", "idle", "no"), False),
}


def parse_run_signal(payload: bytes, running_above: float) -> bool | None:
    """Return whether a payload of the run or speed topic says that the machine runs; None when it says neither.

    A number runs when it is above `running_above` (in the topic's own unit); words are those a PLC gateway writes.
    """
    text = payload.decode("utf-8", "replace").strip().strip('"').casefold()
    if text in _SPOKEN:
        return _SPOKEN[text]
    try:
        number = float(text)
    except ValueError:
        return None
    return number > running_above if math.isfinite(number) else None
