"""The C allocator, told to give memory back: a small box has better use for it."""

from __future__ import annotations

import ctypes

# mallopt(3) of glibc. By default each thread has an arena of its own and freed buffers of up to 32 MB are kept: a
# window's buffers of a few MB, once a second, then cost 35 MB for good. Given back at once, they cost a tenth of the
# encoding time instead.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_THRESHOLD_BYTES = 128 * 1024  # glibc's own starting value; setting it keeps it from growing


def give_memory_back() -> None:
    """Set the allocator up, before threads start; where it is not glibc's, nothing happens."""
    libc = ctypes.CDLL(None)
    try:
        mallopt = libc.mallopt
    except AttributeError:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)
