"""Large parts of requests and answers: files without a name, sent and fetched in pieces."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.errors import ControlError, DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE_BYTES = 1 << 20  # the largest piece that is sent or fetched
MOST_FILES = 16
_LEASE_S = 60.0  # a file that nobody touches for so long is gone


@dataclass(slots=True)
class _File:
    content: IO[bytes]
    touched_s: float  # monotonic, seconds
    lock: threading.Lock
    users: int = 0  # operations that read it now


class Files:
    """Files in `folder` that have an id instead of a name: they go with this process, however that ends. Thread-safe.

    Raises ControlError for an id that is not known (any more), DiskError when there is no room.
    """

    def __init__(self, folder: Path, free_bytes: int) -> None:
        self._folder = folder
        self._free_bytes = free_bytes  # left of the disk
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}

    def create(self) -> str:
        """Return the id of a new, empty file."""
        try:
            content = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed when it is forgotten
        except OSError as error:
            raise DiskError(f"no file can be made: {error.strerror}", where=str(self._folder)) from error
        return self.add(content)

    def add(self, content: IO[bytes]) -> str:
        """Return the id of an open file, which is closed when it is forgotten."""
        self.forget_untouched()
        with self._lock:
            if len(self._files) >= MOST_FILES:
                content.close()
                raise ControlError("too many files are being sent or fetched", hint="try again in a minute")
            file_id = secrets.token_hex(16)
            self._files[file_id] = _File(content, clock.now().monotonic_s, threading.Lock())
            return file_id

    def append(self, file_id: str, offset: int, piece: bytes) -> None:
        """Add a piece at the end, which is at `offset`; sent twice it is added once."""
        file = self._touched(file_id)
        with file.lock, _told(file_id):
            end = file.content.seek(0, 2)
            if offset + len(piece) == end and offset < end:
                return
            if offset != end:
                raise ControlError(f"the next piece begins at {end}, not at {offset}", where=file_id)
            if shutil.disk_usage(self._folder).free < len(piece) + self._free_bytes:
                raise DiskError(
                    f"what was sent would leave less than {self._free_bytes // 1_000_000} MB free",
                    where=str(self._folder),
                    hint="retention.free_mb sets the limit",
                )
            file.content.write(piece)
            file.content.flush()

    def piece(self, file_id: str, offset: int) -> bytes:
        """Return the next piece from `offset` on; empty at the end."""
        file = self._touched(file_id)
        with file.lock, _told(file_id):
            file.content.seek(offset)
            return file.content.read(PIECE_BYTES)

    @contextmanager
    def using(self, file_id: str) -> Iterator[IO[bytes]]:
        """Lend the content, at its beginning, for the body; meanwhile it is not forgotten."""
        file = self._touched(file_id)
        file.users += 1
        try:
            file.content.seek(0)
            yield file.content
        finally:
            file.users -= 1
            file.touched_s = clock.now().monotonic_s

    def forget(self, file_id: str) -> None:
        """Let a file go."""
        with self._lock:
            if (file := self._files.pop(file_id, None)) is not None:
                file.content.close()

    def forget_untouched(self) -> None:
        """Let go of what nobody has touched for a minute; called every now and then."""
        limit_s = clock.now().monotonic_s - _LEASE_S
        with self._lock:
            old = [each for each, file in self._files.items() if file.touched_s < limit_s and not file.users]
            gone = [self._files.pop(file_id) for file_id in old]
        for file in gone:  # without the lock: a disk may take its time, and nobody else waits for that
            file.content.close()

    def close(self) -> None:
        """Let all go."""
        for file_id in list(self._files):
            self.forget(file_id)

    def _touched(self, file_id: str) -> _File:
        self.forget_untouched()
        with self._lock:
            if file_id not in self._files:
                raise ControlError("no such file, or not any more", where=file_id[:64])
            file = self._files[file_id]
            file.touched_s = clock.now().monotonic_s
            return file


@contextmanager
def _told(file_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(f"a large part cannot be written or read: {error.strerror}", where=file_id) from error
    except ValueError as error:  # it was forgotten meanwhile, and is closed
        raise ControlError("no such file any more", where=file_id) from error
