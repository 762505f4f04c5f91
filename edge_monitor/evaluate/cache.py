"""What detectors keep of clips and of long trainings, computed once: a cache on disk, whole after any interrupt."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.resampling import resample
from edge_monitor.errors import AudioError, DatasetError, os_errors_as
from edge_monitor.evaluate.detector import Features
from edge_monitor.evaluate.progress import ClipProgress, Once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_monitor.evaluate.datasets import Clip
    from edge_monitor.evaluate.detector import Detector
    from edge_monitor.records import Samples

    Tell = Callable[[str], None]


def default_cache() -> Path:
    """Return where features are kept: `edge-monitor/features` in the user's cache folder (XDG Base Directory)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"  # a relative one is to be ignored
    return base / "edge-monitor" / "features"


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """A file for each clip's content, channel and detector, and one for the scores of each training that took long.

    Each file is there whole or not at all; a damaged one counts for nothing: each array has a checksum.
    """

    folder: Path

    def load(self, key: str, digest: str) -> Features | None:
        """Return what is kept of a clip; None when there is nothing, or nothing whole."""
        kept = self._read(self._path(key, digest), "vectors", "overlaps")
        return None if kept is None else Features(kept[0], bool(kept[1]))

    def store(self, key: str, digest: str, features: Features) -> None:
        """Keep a clip's features: all of them, or nothing. Raises DatasetError when the folder cannot be written."""
        self._write(self._path(key, digest), vectors=features.vectors, overlaps=np.array(features.overlaps))

    def load_scores(self, key: str, digest: str) -> NDArray[np.float64] | None:
        """Return the kept scores of test clips, (test,); None when there are none, or nothing whole."""
        kept = self._read(self._path(f"{key}-scores", digest), "scores")
        return None if kept is None else kept[0]

    def store_scores(self, key: str, digest: str, scores: NDArray[np.float64]) -> None:
        """Keep the scores of test clips, (test,). Raises DatasetError as `store` does."""
        self._write(self._path(f"{key}-scores", digest), scores=scores)

    def _path(self, key: str, digest: str) -> Path:
        return self.folder / key[:32] / digest[:2] / f"{digest[2:]}.npz"

    @staticmethod
    def _read(path: Path, *names: str) -> list[NDArray[Any]] | None:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return [stored[name] for name in names]
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
            return None  # RuntimeError: a damaged flag says that it is encrypted, or packed in another way

    @staticmethod
    def _write(path: Path, **arrays: NDArray[Any]) -> None:
        savez: Callable[..., None] = np.savez  # its stub takes any keyword for an option
        hint = "--cache names another folder; what was kept stays"
        with os_errors_as(DatasetError, "cannot be written", where=path.parent, hint=hint):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".new", delete=False) as file:
                try:
                    savez(file, **arrays)
                    file.close()
                    Path(file.name).replace(path)
                except BaseException:  # also when the command is interrupted: half a file would be read later
                    with suppress(OSError):
                        Path(file.name).unlink(missing_ok=True)
                    raise


class FeatureExtractor:
    """Gives clips' features, several clips at once; the same sound is heard once for each detector, over all runs."""

    def __init__(self, cache: FeatureCache, tell: Tell, complain: Tell, *, channel: int = 1, jobs: int = 1) -> None:
        self._cache = cache
        self._tell = tell
        self._complain = Once(complain)  # several detectors refuse a damaged file for one reason
        self._channel = channel
        self._jobs = jobs

    def extract(self, detector: Detector, clips: Sequence[Clip], label: str) -> dict[Path, Features]:
        """Return the features of each clip by its path; clips that cannot be heard are complained of and left out.

        Threads serve: decoding, resampling and ONNX Runtime run without the interpreter's lock.
        Raises DatasetError when the cache cannot be written.
        """
        found: dict[Path, Features] = {}
        progress = ClipProgress(f"{label}: {detector.name}", len(clips), self._tell)
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
    with os_errors_as(AudioError, "cannot be read", where=path), path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256")
    content.update(f"channel {channel}".encode())
    return content.hexdigest()


class KeptScores:
    """A detector whose scores are kept by the clips that were learnt and tested, in their order.

    What cannot be kept is complained of once, and given all the same: it was learnt for long.
    """

    def __init__(self, detector: Detector, version: str, cache: FeatureCache, complain: Tell) -> None:
        """`version` names how `detector` learns, its seed included: another one for other scores of the same clips."""
        self._detector = detector
        self._version = version
        self._cache = cache
        self._complain = Once(complain)
        self.name = detector.name
        self.key = detector.key
        self.sample_rate_hz = detector.sample_rate_hz
        self.pooled = detector.pooled

    def features(self, samples: Samples) -> Features:
        """Return the detector's; see `Detector.features`."""
        return self._detector.features(samples)

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> NDArray[np.float64]:
        """Return the scores that are kept, or learn and keep them; see `Detector.fit_score`."""
        digest = self._digest(train, test)
        kept = self._cache.load_scores(self.key, digest)
        if kept is not None and kept.shape == (len(test),):
            return kept
        scores = np.asarray(self._detector.fit_score(train, test), dtype=np.float64)
        try:
            self._cache.store_scores(self.key, digest, scores)
        except DatasetError as error:
            self._complain(f"{self.name}: its scores are not kept: {error.message}")
        return scores

    def threshold(self, train: Sequence[Features]) -> float | None:
        """Return the detector's; see `Detector.threshold`."""
        return self._detector.threshold(train)

    def _digest(self, train: Sequence[Features], test: Sequence[Features]) -> str:
        words = [self.name, self._version, "learnt", *(clip.digest for clip in train), "tested"]
        return hashlib.sha256("\n".join([*words, *(clip.digest for clip in test)]).encode()).hexdigest()
