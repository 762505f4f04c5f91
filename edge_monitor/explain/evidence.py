"""The evidence folder: one picture, and if wanted the sound, per alarm; written whole or not at all, within caps."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
import uuid
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import structlog

from edge_monitor.clock import FIRST_CREDIBLE_MS, rfc3339
from edge_monitor.errors import StorageError, os_errors_as
from edge_monitor.explain.picture import Panel, draw
from edge_monitor.explain.spectrogram import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_monitor.config.settings import RetentionSettings
    from edge_monitor.records import AlarmEvent, Finding, Samples

_log = structlog.get_logger()

_MACHINE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEMPORARY = ".tmp"
_STALE_S = 3600.0  # an unfinished file this old was left by a crash
_MB = 1_000_000
_DAY_S = 86_400.0
_FIRST_CREDIBLE_S = FIRST_CREDIBLE_MS / 1000  # an older file tells no age, and only the other caps apply


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What a clean-up deleted, and what is left."""

    alarms: int
    files: int
    removed_bytes: int
    kept_bytes: int


@dataclass(slots=True)
class _Kept:
    """The files of one alarm."""

    paths: list[Path]
    size_bytes: int = 0
    written_s: float = 0.0  # of its newest file, wall clock


class EvidenceStore:
    """`{state_dir}/evidence/{machine}/{alarm_id}.png` and `.flac`, oldest alarms deleted first.

    For one thread. The folder itself may be a link the administrator made; below it links are neither written
    through nor followed. `now_s` is the wall clock that the age of files is judged by, seconds since 1970-01-01 UTC.
    """

    def __init__(self, folder: Path, retention: RetentionSettings, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._retention = retention
        self._now_s = now_s

    def write_picture(
        self, event: AlarmEvent, title: str, anomaly: bytes, normal: bytes | None, findings: Sequence[Finding] = ()
    ) -> str:
        """Draw the anomaly beside its nearest normal (compact spectrograms) and return the file's relative name.

        The first `findings`, largest first, are marked on both and told below.

        Raises StorageError when it cannot be kept, or a spectrogram is damaged.
        """
        right = None
        if normal is not None:
            nearest = event.neighbours[0]
            where = f"{nearest.recording}, {nearest.recording_start_s:.0f} s"
            right = Panel(f"Nearest normal: {where}", expand(normal))
        ratio = event.score / event.threshold
        subtitle = (
            f"score {event.score:.4g} = {ratio:.2f} x threshold {event.threshold:.4g}"
            f", level {event.level_dbfs:.1f} dBFS, generation {event.generation}, alarm {event.alarm_id}"
        )
        head = f"{title} ({event.machine})  {rfc3339(event.at_ms)[:19].replace('T', ' ')} UTC"
        return self._write(event, ".png", draw(head, subtitle, Panel("Anomaly", expand(anomaly)), right, findings))

    def write_audio(self, event: AlarmEvent, samples: Samples, rate_hz: int) -> str:
        """Keep the sound, (frames,) float32 at its native rate with pre-roll, as 24-bit FLAC; return the relative name.

        Raises StorageError when it cannot be kept.
        """
        import soundfile

        buffer = BytesIO()
        soundfile.write(buffer, samples, rate_hz, format="FLAC", subtype="PCM_24")
        return self._write(event, ".flac", buffer.getvalue())

    def enforce(self) -> CleanUp:
        """Delete the oldest alarms' evidence until age, size and free space keep the caps; log what went.

        Every write does so by itself. Raises StorageError when the folder cannot be read.
        """
        with os_errors_as(StorageError, "evidence cannot be tidied", where=self._folder):
            return self._enforce(0)

    def _enforce(self, room_bytes: int) -> CleanUp:
        """Keep the caps with `room_bytes` left for what is about to be written."""
        alarms = sorted(self._alarms(), key=lambda kept: kept.written_s)
        total = sum(kept.size_bytes for kept in alarms) + room_bytes
        free = self._free_bytes() - room_bytes
        oldest_s = self._now_s() - self._retention.evidence_days * _DAY_S
        # A disk that others have filled is not helped by deleting what little is here: then nothing new is written.
        short = free < self._retention.free_mb * _MB <= free + sum(kept.size_bytes for kept in alarms)
        removed: list[_Kept] = []
        for kept in alarms:
            too_old = _FIRST_CREDIBLE_S < kept.written_s < oldest_s
            too_little = short and free < self._retention.free_mb * _MB
            too_much = total > self._retention.evidence_max_mb * _MB or too_little
            if not too_old and not too_much:
                continue
            for path in kept.paths:
                path.unlink(missing_ok=True)
            total -= kept.size_bytes
            free += kept.size_bytes
            removed.append(kept)
        cleaned = CleanUp(
            len(removed),
            sum(len(kept.paths) for kept in removed),
            sum(kept.size_bytes for kept in removed),
            total - room_bytes,
        )
        if removed:
            _log.info("explain.evidence_removed", **asdict(cleaned))
        return cleaned

    def _alarms(self) -> list[_Kept]:
        """Return what is kept, alarm by alarm; unfinished files of an earlier crash are deleted on the way."""
        found: dict[tuple[str, str], _Kept] = defaultdict(lambda: _Kept([]))
        for machine in _entries(self._folder):
            if not machine.is_dir(follow_symlinks=False):
                continue
            for entry in _entries(self._folder / machine.name):
                if not entry.is_file(follow_symlinks=False):
                    continue
                path = self._folder / machine.name / entry.name
                status = entry.stat(follow_symlinks=False)
                if path.suffix == _TEMPORARY:
                    if abs(time.time() - status.st_mtime) > _STALE_S:
                        path.unlink(missing_ok=True)
                    continue
                kept = found[machine.name, path.stem]
                kept.paths.append(path)
                kept.size_bytes += status.st_size
                kept.written_s = max(kept.written_s, status.st_mtime)
        return list(found.values())

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder if self._folder.exists() else self._folder.parent).free

    def _write(self, event: AlarmEvent, suffix: str, content: bytes) -> str:
        """Write a file of an alarm whole or not at all: temporary file, fsync, rename, fsync of the folder."""
        machine, stem = _safe(event)
        name = f"{stem}{suffix}"
        with os_errors_as(StorageError, "evidence cannot be written", where=self._folder / machine / name):
            self._folder.mkdir(mode=0o750, exist_ok=True)
            self._enforce(len(content))
            free_mb = (self._free_bytes() - len(content)) / _MB
            if free_mb < self._retention.free_mb:
                hint = f"free some: evidence stops below retention.free_mb = {self._retention.free_mb}"
                raise StorageError(f"only {free_mb:.0f} MB free", where=str(self._folder), hint=hint)
            with suppress(FileExistsError):
                (self._folder / machine).mkdir(mode=0o750)
            with _opened(self._folder / machine) as folder:
                _replace(folder, name, content)
        return f"{machine}/{name}"


def _safe(event: AlarmEvent) -> tuple[str, str]:
    """Return folder and stem of an alarm's files, made only of characters that cannot lead elsewhere."""
    if not _MACHINE.fullmatch(event.machine):
        raise StorageError(f"{event.machine!r} cannot name a folder")
    try:
        return event.machine, str(uuid.UUID(event.alarm_id))
    except ValueError:
        raise StorageError(f"{event.alarm_id!r} is no alarm id") from None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open a folder that is no link."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _replace(folder: int, name: str, content: bytes) -> None:
    temporary = f".{name}.{secrets.token_hex(4)}{_TEMPORARY}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o640, dir_fd=folder), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:  # also when the node stops: half a file is no evidence
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)
