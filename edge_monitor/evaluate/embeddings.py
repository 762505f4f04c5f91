"""What detectors keep of clips, computed once: a cache on disk that any interruption leaves whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.resampling import resample
from edge_monitor.errors import AudioError, DatasetError
from edge_monitor.evaluate.detector import Features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_monitor.evaluate.datasets import Clip
    from edge_monitor.evaluate.detector import Detector

    Tell = Callable[[str], None]

_EVERY_S = 10.0  # between two lines of progress
_FIRST_S = 2.0  # nothing is told of what is done by then


def default_cache() -> Path:
    """Return where features are kept: `edge-monitor/features` in the user's cache folder (XDG Base Directory)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"  # a relative one is to be ignored
    return base / "edge-monitor" / "features"


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """One file for each clip's content, channel and detector."""

    folder: Path

    def load(self, key: str, digest: str) -> Features | None:
        """Return what is kept of a clip; None when there is nothing, or nothing whole: each array has a checksum."""
        try:
            with self._path(key, digest).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return Features(stored["vectors"], bool(stored["overlaps"]))
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
            return None  # RuntimeError: a damaged flag says that it is encrypted, or packed in another way

    def store(self, key: str, digest: str, features: Features) -> None:
        """Keep a clip's features: all of them, or nothing. Raises DatasetError when the folder cannot be written."""
        path = self._path(key, digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".new", delete=False) as file:
                try:
                    np.savez(file, vectors=features.vectors, overlaps=np.array(features.overlaps))
                    file.close()
                    Path(file.name).replace(path)
                except BaseException:  # also when the command is interrupted: half a file would be read later
                    with suppress(OSError):
                        Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            hint = "--cache names another folder; what was kept stays"
            raise DatasetError(f"cannot be written: {error.strerror}", where=str(path.parent), hint=hint) from error

    def _path(self, key: str, digest: str) -> Path:
        return self.folder / key[:32] / digest[:2] / f"{digest[2:]}.npz"


class Hearing:
    """Gives clips' features, several clips at once; the same sound is heard once for each detector, over all runs."""

    def __init__(self, cache: FeatureCache, tell: Tell, complain: Tell, *, channel: int = 1, jobs: int = 1) -> None:
        self._cache = cache
        self._tell = tell
        self._complain = complain
        self._channel = channel
        self._jobs = jobs

    def hear(self, detector: Detector, clips: Sequence[Clip], label: str) -> dict[Path, Features]:
        """Return the features of each clip by its path; clips that cannot be heard are complained of and left out.

        Threads serve: decoding, resampling and ONNX Runtime run without the interpreter's lock.
        Raises DatasetError when the cache cannot be written.
        """
        found: dict[Path, Features] = {}
        progress = _Progress(f"{label}: {detector.name}", len(clips), self._tell)
        pool = ThreadPoolExecutor(self._jobs)
        try:
            for clip, heard in zip(clips, pool.map(lambda clip: self._one(detector, clip), clips), strict=True):
                if isinstance(heard, AudioError):
                    self._complain(f"left out: {heard}")
                else:
                    found[clip.path], was_kept = heard
                    progress.count(was_kept=was_kept)
        finally:
            pool.shutdown(cancel_futures=True)  # after an interrupt: the clips that are being heard, and no more
        progress.end()
        return found

    def _one(self, detector: Detector, clip: Clip) -> tuple[Features, bool] | AudioError:
        """Return a clip's features and whether they were kept from before, or why it cannot be heard."""
        try:
            digest = _digest(clip.path, self._channel)
            if kept := self._cache.load(detector.key, digest):
                return kept, True
            samples, rate_hz = read_clip(clip.path, self._channel)
            try:
                features = detector.features(resample(samples, rate_hz, detector.sample_rate_hz))
            except AudioError as error:  # a detector sees samples, not files
                raise AudioError(error.message, where=str(clip.path), hint=error.hint) from error
        except AudioError as error:
            return error
        self._cache.store(detector.key, digest, features)
        return features, False


def _digest(path: Path, channel: int) -> str:
    """Return a digest of a file's content and the channel that is heard."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}", where=str(path)) from error
    content.update(f"channel {channel}".encode())
    return content.hexdigest()


class _Progress:
    """Tells how far it is, how fast it goes and how long it will take."""

    def __init__(self, label: str, clips: int, tell: Tell) -> None:
        self._label = label
        self._clips = clips
        self._tell = tell
        self._begun_s = time.monotonic()
        self._next_s = self._begun_s + _FIRST_S
        self._done = self._kept = 0

    def count(self, *, was_kept: bool) -> None:
        self._done += 1
        self._kept += was_kept
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _EVERY_S
        rate = self._done / (now_s - self._begun_s)
        left_s = (self._clips - self._done) / rate
        self._tell(f"{self._label}: {self._done} of {self._clips} clips, {rate:.1f} per s, {_duration(left_s)} left")

    def end(self) -> None:
        spent_s = time.monotonic() - self._begun_s
        self._tell(f"{self._label}: {self._done} clips in {_duration(spent_s)}, {self._kept} of them from the cache")


def _duration(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004 - up to here seconds read better
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - up to here minutes do
