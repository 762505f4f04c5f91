"""SQLite's write-ahead log, as its index file tells how far it is written and checkpointed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# sqlite.org/walformat.html, "The WAL-Index Header": two copies of 48 bytes, then the checkpoint's information.
_FRAMES_AT, _DONE_AT, _HEAD_BYTES = 16, 96, 100
PAGE_BYTES = 4096  # of every database of this program


@dataclass(frozen=True, slots=True)
class LogState:
    """How much of the log there is."""

    frames: int  # written since it last began anew
    done: int  # of these, carried over into the database

    @property
    def open_frames(self) -> int:
        """Return how many frames a checkpoint has to carry over."""
        return self.frames - self.done


def log_state(database: Path) -> LogState:
    """Return the state of a database's log; without a connection to it there is none."""
    try:
        with database.with_name(f"{database.name}-shm").open("rb") as index:
            head = index.read(_HEAD_BYTES)
    except OSError:
        return LogState(0, 0)
    if len(head) < _HEAD_BYTES:
        return LogState(0, 0)
    (frames,) = struct.unpack_from("=I", head, _FRAMES_AT)
    (done,) = struct.unpack_from("=I", head, _DONE_AT)
    return LogState(frames, min(done, frames))
