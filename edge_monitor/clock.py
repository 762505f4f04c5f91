"""Monotonic and wall time in one place, and whether the wall clock can be believed."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# adjtimex(2) returns TIME_ERROR (5) while the kernel clock is not synchronized.
_TIME_ERROR = 5
_TIMEX_BYTES = 256  # sizeof(struct timex) is 208 on 64-bit Linux; a little more is harmless


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


def boot_id() -> str:
    """Return the kernel's id of this boot, or an empty string where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def synchronized() -> bool | None:
    """Return whether the kernel says the wall clock is synchronized; None where it cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
