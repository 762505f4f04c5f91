"""Power cuts, after the fact: what tests/faults/recorder.c wrote down is replayed into a scratch folder and cut short.

The disk of the model keeps what was synced before the cut; of the rest it keeps any subset, whole or torn at a sector.
Names (create, rename, unlink) survive in order, as a journal keeps them: those up to the last sync of their folder all,
of the later ones the first few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

_SECTOR = 512
_TORN = 0.1  # of the writes
_TOLD = re.compile(rb'"alarm_id":\s?"([0-9a-f-]{36})"')
_SEQ = re.compile(rb'"seq":\s?(\d+)')


@dataclass(frozen=True, slots=True)
class Record:
    """One thing the process did; see recorder.c."""

    kind: str
    inode: int
    offset: int
    data: bytes
    path: str


def read_log(path: Path) -> list[Record]:
    """Return what was recorded, in order."""
    log, at, records = path.read_bytes(), 0, []
    while (end := log.find(b"\n", at)) >= 0:
        kind, inode, offset, size, name = log[at:end].decode().split(" ", 4)
        data = log[end + 1 : end + 1 + int(size)]
        if len(data) < int(size):
            break
        records.append(Record(kind, int(inode), int(offset), data, name))
        at = end + 1 + int(size)
    return records


def told(records: list[Record]) -> set[tuple[str, int]]:
    """Return (alarm_id, seq) of every alert that was printed or sent as stored."""
    found = set()
    for record in records:
        if record.kind != "M" or b'"persisted":0' in record.data:
            continue
        for line in record.data.split(b"\n"):
            is_alert = b"/alert" in line or b'"event": "alarm.' in line
            alarm, seq = _TOLD.search(line), _SEQ.search(line)
            if is_alert and alarm and seq:
                found.add((alarm[1].decode(), int(seq[1])))
    return found


@dataclass
class _File:
    content: bytearray
    pending: list[Record] = field(default_factory=list)  # not synced yet


class Disk:
    """The folder as a disk has it; `begin` is a copy made before the process started, by inode and name."""

    def __init__(self, begin: dict[str, tuple[int, bytes]]) -> None:
        self._files = {inode: _File(bytearray(content)) for inode, content in begin.values()}
        self._names = {name: inode for name, (inode, _) in begin.items()}
        self._renamings: list[Record] = []  # not synced yet
        self._syncing: dict[int, int] = {}  # inode -> how many of its pending writes the present sync covers

    def take(self, record: Record) -> None:
        """Apply one more record."""
        if record.path == ".":
            self._sync_names(record)
        elif record.kind in "CRU":
            self._renamings.append(record)
            if record.kind == "C":
                self._files[record.inode] = _File(bytearray())
        elif record.kind != "M":
            self._write(record, self._files.setdefault(record.inode, _File(bytearray())))

    def _sync_names(self, record: Record) -> None:
        if record.kind == "S":
            for renaming in self._renamings:
                _rename(self._names, renaming)
            self._renamings = []

    def _write(self, record: Record, file: _File) -> None:
        if record.kind in "WT":
            file.pending.append(record)
        elif record.kind == "F":
            self._syncing[record.inode] = len(file.pending)
        elif record.kind == "S":
            covered = self._syncing.pop(record.inode)
            for write in file.pending[:covered]:
                _apply(file.content, write, len(write.data))
            del file.pending[:covered]

    def cut(self, folder: Path, draw: random.Random, share: float) -> None:
        """Write into `folder` what a power cut now may leave: of what is not synced, about this `share`."""
        names = dict(self._names)
        for renaming in self._renamings[: round(draw.uniform(0.0, 1.0) * len(self._renamings))]:
            _rename(names, renaming)
        for name, inode in names.items():
            content = bytearray(self._files[inode].content)
            for write in self._files[inode].pending:
                if draw.random() < share:
                    torn = draw.random() < _TORN
                    size = draw.randrange(0, len(write.data) + 1, _SECTOR) if torn and write.data else len(write.data)
                    _apply(content, write, size)
            (folder / name).write_bytes(content)


def _apply(content: bytearray, write: Record, size: int) -> None:
    if write.kind == "T":
        del content[write.offset :]
        content.extend(bytes(write.offset - len(content)))
        return
    if len(content) < write.offset:
        content.extend(bytes(write.offset - len(content)))
    content[write.offset : write.offset + size] = write.data[:size]


def _rename(names: dict[str, int], renaming: Record) -> None:
    if renaming.kind == "C":
        names[renaming.path] = renaming.inode
    elif renaming.kind == "R":
        names[renaming.data.decode()] = names.pop(renaming.path, renaming.inode)
    else:
        names.pop(renaming.path, None)
