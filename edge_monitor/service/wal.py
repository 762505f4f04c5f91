"""SQLite's write-ahead log, read without SQLite: what it holds, and whether it ends before its time."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# sqlite.org/fileformat2.html#walformat
_HEADER_BYTES = 32
_FRAME_BYTES = 24  # before each page
_MAGIC = 0x377F0682  # its lowest bit: the checksums are big-endian
_LARGEST_PAGE = 65_536


@dataclass(frozen=True, slots=True)
class Wal:
    """What is committed in a log."""

    page_bytes: int = 0
    pages: int = 0  # of the database after the last commit; 0: nothing is committed
    content: dict[int, bytes] | None = None  # newest page by number, from 1
    unusable_frames: int = 0  # of the same log, from the first frame on that is not whole

    def over(self, file: bytes) -> bytes:
        """Return the database file as it is with the log applied."""
        if not self.content:
            return file
        image = bytearray(file.ljust(self.pages * self.page_bytes, b"\0")[: self.pages * self.page_bytes])
        for number, page in self.content.items():
            if number <= self.pages:
                image[(number - 1) * self.page_bytes : number * self.page_bytes] = page
        return bytes(image)


def read_wal(path: Path) -> Wal:
    """Read a log; a missing or foreign file is an empty one. Raises OSError.

    What follows from a frame that is not whole cannot be used. It is what was being written when the power went, or
    commits that were damaged later: the file cannot tell.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Wal()
    if len(data) < _HEADER_BYTES:
        return Wal()
    magic, _, page_bytes = struct.unpack_from(">III", data)
    salts = data[16:24]
    if magic & ~1 != _MAGIC or not 512 <= page_bytes <= _LARGEST_PAGE:  # noqa: PLR2004 - SQLite's smallest page
        return Wal(unusable_frames=len(data) // 4096 if any(data) else 0)
    order = ">" if magic & 1 else "<"
    sums = _checksum(data[:24], order, (0, 0))
    size = _FRAME_BYTES + page_bytes
    frames = range(_HEADER_BYTES, len(data) - size + 1, size)
    if sums != struct.unpack_from(">II", data, 24):
        return Wal(page_bytes, unusable_frames=len(frames))
    committed: dict[int, bytes] = {}
    open_: dict[int, bytes] = {}  # of a transaction whose commit has not been seen yet
    pages = 0
    for place, at in enumerate(frames):
        number, after = struct.unpack_from(">II", data, at)
        page = data[at + _FRAME_BYTES : at + size]
        sums = _checksum(data[at : at + 8] + page, order, sums)
        if data[at + 8 : at + 16] != salts or sums != struct.unpack_from(">II", data, at + 16):
            behind = sum(data[later + 8 : later + 16] == salts for later in frames[place:])
            return Wal(page_bytes, pages, committed, behind)
        open_[number] = page
        if after:
            committed |= open_
            open_, pages = {}, after
    return Wal(page_bytes, pages, committed)


def _checksum(data: bytes, order: str, start: tuple[int, int]) -> tuple[int, int]:
    """Return SQLite's checksum of a multiple of 8 bytes, going on from `start`."""
    first, second = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
