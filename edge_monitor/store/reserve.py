"""Room on the disk that is kept for alarms: a file that is let go when nothing else is left."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BYTES = 2_000_000  # some hundred alarms, each with its message and its windows: about 50 kB before a checkpoint
_FREE_BYTES = 2 * BYTES  # with less the disk as it is serves better


class Reserve:
    """The file `{state_dir}/reserve`; it holds nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "reserve"

    def keep(self) -> None:
        """Take the room, if there is enough beside it; a disk that will not give it is no fault."""
        with suppress(OSError):
            if self._path.exists() or shutil.disk_usage(self._path.parent).free < BYTES + _FREE_BYTES:
                return
            part = self._path.with_suffix(".part")
            try:
                with part.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, BYTES)
                part.replace(self._path)
            finally:
                part.unlink(missing_ok=True)

    def release(self) -> bool:
        """Give the room back; return whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
