"""What threads that nobody waits for do, so that the audio never waits for them."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

NICE = 10  # of 0 (normal) to 19; Linux keeps it per thread


def step_back() -> None:
    """Give the calling thread a lower priority than the threads that hear."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
