"""Detection quality: a bundle beside two plain detectors, on identical splits of a data set in DCASE 2020 layout.

    python bench/detection.py DATASET [--bundle spectral] [--splits 100]

DATASET holds `<machine>/{train,test}/{normal,anomaly}_id_XX_*.{wav,flac}`. For every machine id all normal clips are
pooled and split at random: 60 % are remembered, the other 40 % and all anomalies are scored. The exit code is 1 when
the lower 95 % bound of the mean AUC difference (bundle - floor detector) is -1 point or less.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Samples = NDArray[np.float32]

K = 4  # nearest normals, paper eq. 1
REMEMBERED = 0.6  # part of an id's normal clips
PASS_POINTS = -1.0
FLOOR_RATE_HZ = 16_000
FLOOR_DB = 0.5  # the floor detector's own standardization floor
_NAME = re.compile(r"(normal|anomaly)_(id_[A-Za-z0-9]+)_.*\.(wav|flac)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clips:
    """One machine id's recordings."""

    machine: str
    machine_id: str
    normal: tuple[Path, ...]
    anomaly: tuple[Path, ...]

    @property
    def label(self) -> str:
        """Return e.g. `fan id_00`."""
        return f"{self.machine} {self.machine_id}"


@dataclass(frozen=True, slots=True)
class Detector:
    """How a clip becomes vectors and vectors become a score."""

    name: str
    key: str  # names the cached features
    features: Callable[[Path], Array]  # clip -> (windows, dim); the last window may overlap the one before
    floor: Array | float | None  # standardization floor; None: plain Euclidean distance
    unit: bool = False  # True: vectors are scaled to length 1 first


def find_clips(dataset: Path) -> list[Clips]:
    """Return the machine ids that have at least K + 1 normal clips and one anomaly, in name order."""
    found: dict[tuple[str, str], dict[str, list[Path]]] = defaultdict(lambda: {"normal": [], "anomaly": []})
    for path in sorted(dataset.glob("*/*/*")):
        match = _NAME.fullmatch(path.name)
        if match and path.parent.name in {"train", "test"}:
            found[path.parent.parent.name, match[2]][match[1].lower()].append(path)
    return [
        Clips(machine, machine_id, tuple(clips["normal"]), tuple(clips["anomaly"]))
        for (machine, machine_id), clips in sorted(found.items())
        if len(clips["normal"]) > K and clips["anomaly"]
    ]


def read_clip(path: Path, rate_hz: int) -> Samples:
    """Return a clip's first channel at `rate_hz`."""
    samples, recorded_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(samples[:, 0])
    return mono if recorded_hz == rate_hz else np.asarray(soxr.resample(mono, recorded_hz, rate_hz, quality="HQ"))


def windows_of(samples: Samples, length: int) -> Samples:
    """Return `(windows, length)` side by side, the last one right-aligned; a short clip stays as it is."""
    if len(samples) <= length:
        return samples[None, :]
    starts = list(range(0, len(samples) - length + 1, length))
    if starts[-1] + length < len(samples):
        starts.append(len(samples) - length)
    return np.stack([samples[start : start + length] for start in starts])


def bundle_detector(name: str) -> Detector:
    """Return the detector as the product runs it: the bundle's encoder and the metric of its manifest."""
    encoder = Encoder(find_bundle(name, base=Path.cwd()))

    def features(path: Path) -> Array:
        clip = read_clip(path, encoder.sample_rate_hz)
        return encoder.embed(windows_of(clip, encoder.window_samples)).astype(np.float64)

    floor = encoder.standardization_floor
    return Detector(
        name=encoder.bundle.name,
        key=encoder.bundle_hash[:16],
        features=features,
        floor=None if floor is None else floor.astype(np.float64),
        unit=encoder.scoring_normalize == "unit",
    )


def log_mel(path: Path) -> Array:
    """Return a clip's `(time, 128)` log-mel spectrogram in dB: 1024-point Hann FFT, hop 512, 16 kHz, HTK scale."""
    clip = read_clip(path, FLOOR_RATE_HZ).astype(np.float64)
    clip = np.pad(clip, (0, max(0, 1024 - len(clip))))
    frames = np.lib.stride_tricks.sliding_window_view(clip, 1024)[::512]
    power = np.abs(np.fft.rfft(frames * np.hanning(1025)[:-1])) ** 2
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + FLOOR_RATE_HZ / 2 / 700.0), 130)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    bins = np.arange(513) * FLOOR_RATE_HZ / 1024
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.asarray(10.0 * np.log10(power @ np.maximum(0.0, np.minimum(rise, fall)).T + 1e-8))


def floor_features(path: Path) -> Array:
    """Return the floor detector's `(1, 256)`: each band's maximum and standard deviation over the clip."""
    bands = log_mel(path)
    return np.concatenate([bands.max(0), bands.std(0)])[None, :]


def mean_features(path: Path) -> Array:
    """Return `(1, 128)`: each band's mean over the clip."""
    return np.asarray(log_mel(path).mean(0)[None, :])


def auc(normal: Array, anomaly: Array) -> float:
    """Return the area under the ROC curve: P(anomaly > normal) + P(equal) / 2."""
    both = np.concatenate([normal, anomaly])
    _, place, count = np.unique(both, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2.0)[place]  # ties share their mean rank
    above = rank[len(normal) :].sum() - len(anomaly) * (len(anomaly) + 1) / 2.0
    return float(above / (len(normal) * len(anomaly)))


def distances(memory: Array, queries: Array, detector: Detector) -> Array:
    """Return each query's mean distance to its K nearest remembered vectors."""
    if detector.unit:
        memory = memory / np.linalg.norm(memory, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    if detector.floor is not None:
        scale = memory.std(0) + detector.floor
        memory, queries = memory / scale, queries / scale
    centre = memory.mean(0)  # smaller numbers: less cancellation below
    memory, queries = memory - centre, queries - centre
    squared = (queries**2).sum(1)[:, None] + (memory**2).sum(1)[None, :] - 2.0 * queries @ memory.T
    nearest = np.partition(squared, min(K, len(memory)) - 1, axis=1)[:, :K]
    return np.asarray(np.sqrt(np.maximum(nearest, 0.0)).mean(1))


def splits(clips: int, count: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield (remembered, held out) clip numbers; the same ones for every detector."""
    generator = np.random.default_rng(seed)
    remembered = round(REMEMBERED * clips)
    for _ in range(count):
        order = generator.permutation(clips)
        yield order[:remembered], order[remembered:]


def score_id(normal: list[Array], anomaly: list[Array], detector: Detector, count: int, seed: int) -> Array:
    """Return the AUC of each split, `(count,)`. A clip's score is the mean over its windows."""
    aucs = []
    for remembered, held_out in splits(len(normal), count, seed):
        # The right-aligned last window of a longer clip repeats sound of the one before it: not remembered twice. (A
        # clip of several whole windows gives up one that could have been kept.)
        memory = np.concatenate([normal[i][: max(1, len(normal[i]) - 1)] for i in remembered])
        tested = [normal[i] for i in held_out] + anomaly
        scores = distances(memory, np.concatenate(tested), detector)
        ends = np.cumsum([len(windows) for windows in tested])[:-1]
        means = np.array([part.mean() for part in np.split(scores, ends)])
        aucs.append(auc(means[: len(held_out)], means[len(held_out) :]))
    return np.array(aucs)


def cached_features(paths: tuple[Path, ...], detector: Detector, cache: Path) -> list[Array]:
    """Return the features of each clip, computed once per file content date and detector."""
    stamps = [f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths]
    entry = cache / f"{hashlib.sha256(chr(10).join([detector.key, *stamps]).encode()).hexdigest()[:32]}.npz"
    if entry.is_file():
        with np.load(entry) as stored:
            return [stored[f"clip{i}"] for i in range(len(paths))]
    features = [detector.features(path) for path in paths]
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(entry, **{f"clip{i}": array for i, array in enumerate(features)})  # type: ignore[arg-type]  # numpy's stub takes **kwds for allow_pickle
    return features


def interval(differences: Array, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `differences` `(ids, splits)`.

    A two-stage bootstrap: ids are drawn with replacement, then splits within each drawn id; 2.5 and 97.5 percentiles
    of the mean. It says how much the choice of machines and of remembered clips moves the figure.
    """
    generator = np.random.default_rng(seed)
    ids, count = differences.shape
    drawn = generator.integers(ids, size=(draws, ids))
    means = np.empty(draws)
    for i in range(draws):
        chosen = generator.integers(count, size=(ids, count))
        means[i] = np.take_along_axis(differences[drawn[i]], chosen, axis=1).mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).parents[2] / "shared/recordings/mimii"
    known = Path(os.environ.get("EDGE_MONITOR_RECORDINGS", beside))
    parser.add_argument("dataset", type=Path, nargs="?", default=known, help="default: $EDGE_MONITOR_RECORDINGS")
    parser.add_argument("--bundle", default="spectral", help="a bundle's name, or a path with a slash")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "edge-monitor-bench")
    options = parser.parse_args()
    if not options.dataset.is_dir():
        print(f"not measured: no recordings at {options.dataset}")
        return 0
    clips = find_clips(options.dataset)
    if not clips:
        print(f"{options.dataset}: no <machine>/{{train,test}}/{{normal,anomaly}}_id_XX_* clips", file=sys.stderr)
        return 2
    detectors = (
        bundle_detector(options.bundle),
        Detector("floor detector", "floor-1", floor_features, FLOOR_DB),
        Detector("time-mean log-mel kNN", "mean-1", mean_features, None),
    )
    points = np.empty((len(detectors), len(clips), options.splits))
    for row, detector in enumerate(detectors):
        for column, one in enumerate(clips):
            normal = cached_features(one.normal, detector, options.cache)
            anomaly = cached_features(one.anomaly, detector, options.cache)
            points[row, column] = 100.0 * score_id(normal, anomaly, detector, options.splits, options.seed)

    print(f"AUC in points, mean over {options.splits} splits (seed {options.seed}); {K} nearest neighbours\n")
    print("| machine id | normal | anomaly | " + " | ".join(detector.name for detector in detectors) + " |")
    print("|---|--:|--:|" + "--:|" * len(detectors))
    for column, one in enumerate(clips):
        cells = " | ".join(f"{value:.1f}" for value in points[:, column].mean(1))
        print(f"| {one.label} | {len(one.normal)} | {len(one.anomaly)} | {cells} |")
    print("| **mean** | | | " + " | ".join(f"**{value:.1f}**" for value in points.mean((1, 2))) + " |\n")
    lower = 0.0
    for row in (2, 1):
        difference = points[0] - points[row]
        lower, upper = interval(difference)
        print(
            f"{detectors[0].name} - {detectors[row].name}: {difference.mean():+.1f} points, "
            f"95 % interval {lower:+.1f} to {upper:+.1f}"
        )
    print("\nIntervals: two-stage bootstrap of the paired differences, ids then splits, 10,000 draws.")
    print(f"{'pass' if lower > PASS_POINTS else 'FAIL'}: the lower bound against the floor detector must be > -1 point")
    return 0 if lower > PASS_POINTS else 1


if __name__ == "__main__":
    sys.exit(main())
