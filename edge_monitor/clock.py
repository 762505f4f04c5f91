"""Monotonic and wall time in one place, how far the wall clock can be believed, and its steps."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime

# adjtimex(2) returns TIME_ERROR (5) while the kernel clock is not synchronized.
_TIME_ERROR = 5
_TIMEX_BYTES = 256  # sizeof(struct timex) is 208 on 64-bit Linux; a little more is harmless
# A board without a clock boots in 1970: before this moment (November 2023) a wall time tells no age.
FIRST_CREDIBLE_MS = 1_700_000_000_000
STEP_S = 1.0  # a disciplined clock is slewed by 0.0005 s in a second at most
_CATCHING_UP = 2.0  # how much faster than time `follow` may go


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of both clocks."""

    monotonic_s: float
    wall_ms: int


def now() -> Now:
    """Read the monotonic clock (seconds) and the wall clock (milliseconds since 1970-01-01 UTC)."""
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


def rfc3339(wall_ms: int) -> str:
    """Return a wall time as RFC 3339 UTC with milliseconds, e.g. `2026-01-31T08:15:00.250Z`."""
    moment = datetime.fromtimestamp(wall_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{wall_ms % 1000:03d}Z"


def synchronized() -> bool | None:
    """Return whether the wall clock is synchronized; None where the kernel cannot be asked.

    A clock that has not reached this program's own age is not, whatever the kernel says.
    """
    if now().wall_ms < FIRST_CREDIBLE_MS:
        return False
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def follow(believed_ms: int, elapsed_s: float, wall_ms: int) -> int:
    """Return what to believe `elapsed_s` (monotonic seconds) after `believed_ms`, while the wall clock says `wall_ms`.

    It goes where the wall clock goes, at most twice as fast as time, and never back: a step of a year that is put right
    within an hour makes nothing older than two hours. The first credible time is believed at once.
    """
    if believed_ms < FIRST_CREDIBLE_MS <= wall_ms:
        return wall_ms
    return max(believed_ms, min(wall_ms, believed_ms + round(_CATCHING_UP * elapsed_s * 1000)))


class StepWatch:
    """Tells steps of the wall clock from the passing of time. A box that slept has stepped as well."""

    def __init__(self, first: Now) -> None:
        self._offset_ms = _offset_ms(first)

    def look(self, moment: Now) -> float:
        """Return by how many seconds the wall clock has stepped since the last look; 0.0: it has not."""
        offset_ms = _offset_ms(moment)
        change_s = (offset_ms - self._offset_ms) / 1000
        self._offset_ms = offset_ms
        return change_s if abs(change_s) >= STEP_S else 0.0


def _offset_ms(moment: Now) -> float:
    return moment.wall_ms - moment.monotonic_s * 1000
