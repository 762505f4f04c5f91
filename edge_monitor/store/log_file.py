"""SQLite's write-ahead log, as its index file tells how far it is written and checkpointed."""

from __future__ import annotations

import os
import struct
import threading
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


class LogIndex:
    """Reads the index of a database's log; thread-safe.

    It is kept open: to close any descriptor of it would end the locks that SQLite holds in this process
    (sqlite.org/howtocorrupt.html, 2.2). Only one whose file is gone is closed.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-shm")
        self._lock = threading.Lock()
        self._descriptor = -1
        self._file = (0, 0)  # device and inode

    def state(self) -> LogState:
        """Return the state of the log; while nobody has the database open there is none."""
        with self._lock:
            try:
                about = self._path.stat()
                if (about.st_dev, about.st_ino) != self._file:
                    self._open()
                head = os.pread(self._descriptor, _HEAD_BYTES, 0)
            except OSError:
                return LogState(0, 0)
        if len(head) < _HEAD_BYTES:
            return LogState(0, 0)
        (frames,) = struct.unpack_from("=I", head, _FRAMES_AT)
        (done,) = struct.unpack_from("=I", head, _DONE_AT)
        return LogState(frames, min(done, frames))

    def _open(self) -> None:
        fresh = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        about = os.fstat(fresh)
        self._descriptor, self._file = fresh, (about.st_dev, about.st_ino)

    def close(self) -> None:
        """Let go of the file, once nobody in this process has the database open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._file = -1, (0, 0)
