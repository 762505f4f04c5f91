"""The sound of enrolled recordings, kept as FLAC on request, so that another bundle can hear it without the machine."""

from __future__ import annotations

import io
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_monitor.node.node import Node
    from edge_monitor.records import Samples

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIXTEEN_BITS = 2**15


@dataclass(frozen=True, slots=True)
class KeptAudio:
    """One machine's kept sound: a file for each recording, named by the recording's hash."""

    folder: Path
    free_bytes: int  # what must stay free on the disk
    most_bytes: int  # of all machines' kept sound

    @classmethod
    def of(cls, node: Node, machine: str) -> KeptAudio:
        """Return a machine's, in the node's state directory."""
        retention = node.settings.retention
        return cls(
            node.state_dir.path / "audio" / machine, retention.free_mb * 1_000_000, retention.audio_max_mb * 1_000_000
        )

    def path(self, sha256: str) -> Path:
        """Return where a recording's sound lies, whether or not it is kept. Raises StorageError for no hash."""
        if not _SHA256.fullmatch(sha256):
            raise StorageError("not a SHA-256", where=sha256[:80])
        return self.folder / f"{sha256}.flac"

    def has(self, sha256: str) -> bool:
        """Return whether a recording's sound is kept; a link is none."""
        path = self.path(sha256)
        return path.is_file() and not path.is_symlink()

    def write(self, sha256: str, pieces: Iterable[bytes]) -> None:
        """Keep a file that comes in pieces; it appears whole, or not at all.

        Raises StorageError when the disk is too full or cannot be written, or enough is kept.
        """
        path = self.path(sha256)
        part = path.with_suffix(".part")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.folder.is_symlink():
                raise StorageError("is a link: sound is kept below the state directory only", where=str(self.folder))
            try:
                with open(part, "wb", opener=_not_through_a_link) as file:
                    for piece in pieces:
                        self._require_room(len(piece))
                        file.write(piece)
                        file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"the sound cannot be kept: {error.strerror}", where=str(self.folder)) from error

    def _require_room(self, size: int) -> None:
        if shutil.disk_usage(self.folder).free - size < self.free_bytes:
            raise StorageError(
                f"keeping this sound would leave less than {self.free_bytes // 1_000_000} MB free",
                where=str(self.folder),
                hint="retention.free_mb sets the limit",
            )
        if sum(path.lstat().st_size for path in self.folder.parent.glob("*/*")) + size > self.most_bytes:
            raise StorageError(
                f"more than {self.most_bytes // 1_000_000} MB of sound would be kept",
                where=str(self.folder),
                hint="retention.audio_max_mb sets the limit",
            )


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def as_flac(samples: Samples, rate_hz: int) -> bytes:
    """Return sound (frames,) as a mono FLAC file; what has more than 24 bits, or exceeds full scale, loses that."""
    scaled = samples * np.float32(_SIXTEEN_BITS)
    subtype = "PCM_16" if np.array_equal(scaled, np.rint(scaled)) else "PCM_24"
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="FLAC", subtype=subtype)
    return file.getvalue()
