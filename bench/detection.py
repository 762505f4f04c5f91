"""Detection quality: a bundle and its scorers beside plain detectors, on identical splits of a data set.

    python -m bench.detection DATASET [--bundle spectral] [--scorers all] [--mixed] [--audio-anomaly] [--autoencoder]

DATASET is anything `edge-monitor evaluate` reads. For every machine id all normal clips are pooled and split at random:
60 % are remembered, the other 40 % and all anomalies are scored. The exit code is 1 when the lower 95 % bound of the
mean AUC difference (bundle - floor detector) on the clean recordings is -1 point or less; see docs/detection.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.resampling import resample
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.autoencoder import VERSION, Autoencoder
from edge_monitor.evaluate.cache import FeatureCache, FeatureExtractor, KeptScores, default_cache
from edge_monitor.evaluate.datasets import Dataset, read_dataset
from edge_monitor.evaluate.detector import BundleDetector, Features
from edge_monitor.evaluate.figures import interval
from edge_monitor.evaluate.measure import measure
from edge_monitor.memory.distance import K
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import SCORING_METHODS, fit, method_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_monitor.evaluate.detector import Detector
    from edge_monitor.records import Samples

    Array = NDArray[np.float64]

PASS_POINTS = -1.0
RATE_HZ = 16_000
FLOOR_DB = 0.5  # the floor detector's own standardization floor
MIXES = tuple((gain, seed) for gain in (0.5, 1.0) for seed in (1, 2, 3))  # of another machine's normal sound
_FLOOR, _MEAN = "floor detector", "time-mean log-mel kNN"


@dataclass(frozen=True, slots=True)
class Plain:
    """A detector of one vector a clip and eq. 1."""

    name: str
    key: str
    pool: Callable[[Array], Array]  # log-mel spectrogram (time, band) dB -> (dim,)
    spec: MetricSpec
    sample_rate_hz: int = RATE_HZ
    pooled: bool = False

    def features(self, samples: Samples) -> Features:
        """Return the clip's vector, (1, dim)."""
        return Features(self.pool(log_mel(samples))[None, :].astype(np.float32))

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> Array:
        """Return eq. 1 for each test clip."""
        memory, queries = (np.concatenate([clip.vectors for clip in clips]) for clips in (train, test))
        if len(memory) < K:
            raise DatasetError(f"{len(memory)} normal clips to learn, needs {K}")
        return fit(None, memory, self.spec).scores(queries)

    def threshold(self, train: Sequence[Features]) -> float | None:
        """Return None: only the bundle has a calibration."""


class AudioAnomaly:
    """PyPI's audio-anomaly, as its README says: a Monitor of known-good sound checks each recording."""

    key = "samples-16k"
    sample_rate_hz = RATE_HZ
    pooled = False

    def __init__(self) -> None:
        self.name = f"audio-anomaly {version('audio-anomaly')}"

    def features(self, samples: Samples) -> Features:
        """Return the sound itself, (1, samples)."""
        return Features(samples[None, :])

    def fit_score(self, train: Sequence[Features], test: Sequence[Features]) -> Array:
        """Return the highest frame score of each test clip; the normal clips are joined to one reference."""
        import audio_anomaly  # type: ignore[import-not-found]  # nothing here needs it: pip install audio-anomaly

        reference = np.concatenate([clip.vectors[0] for clip in train])
        monitor = audio_anomaly.Monitor(reference, sample_rate=RATE_HZ)
        return np.array([monitor.check((clip.vectors[0], RATE_HZ)).max_score for clip in test], dtype=np.float64)

    def threshold(self, train: Sequence[Features]) -> float | None:
        """Return None: its threshold is not measured here."""


def log_mel(samples: Samples) -> Array:
    """Return a clip's `(time, 128)` log-mel spectrogram in dB: 1024-point Hann FFT, hop 512, 16 kHz, HTK scale."""
    clip = np.pad(samples.astype(np.float64), (0, max(0, 1024 - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(clip, 1024)[::512]
    power = np.abs(np.fft.rfft(frames * np.hanning(1025)[:-1])) ** 2
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + RATE_HZ / 2 / 700.0), 130)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    bins = np.arange(513) * RATE_HZ / 1024
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.asarray(10.0 * np.log10(power @ np.maximum(0.0, np.minimum(rise, fall)).T + 1e-8))


def mixed(dataset: Dataset, gain: float, seed: int, folder: Path) -> Dataset:
    """Write every clip with normal sound of another type of machine at `gain` times its RMS; return that data set."""
    draw = np.random.default_rng(1000 + seed)
    sound = {clip.path: resample(*read_clip(clip.path, 1), RATE_HZ).astype(np.float64) for clip in dataset.clips}
    others = {
        machine: [clip.path for clip in dataset.clips if clip.machine != machine and not clip.anomalous]
        for machine in {clip.machine for clip in dataset.clips}
    }
    for one in dataset.individuals:
        for clip in sorted((*one.train, *one.test), key=lambda clip: (clip.anomalous, clip.path)):
            pool = others[clip.machine]
            samples, other = sound[clip.path], sound[pool[int(draw.integers(len(pool)))]]
            other = np.resize(np.roll(other, int(draw.integers(len(other)))), len(samples))
            loudness = np.sqrt(np.mean(samples**2) / max(float(np.mean(other**2)), 1e-18))
            target = folder / clip.path.relative_to(dataset.folder.resolve()).with_suffix(".wav")
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, (samples + gain * loudness * other).astype(np.float32), RATE_HZ, subtype="FLOAT")
    return read_dataset(folder)


def detectors_of(options: argparse.Namespace) -> Iterator[Detector]:
    """Yield the columns: the bundle with its own scorer first."""
    encoder = Encoder(find_bundle(options.bundle, base=Path.cwd()))
    own = BundleDetector(encoder)
    yield own
    wanted = (
        list(SCORING_METHODS) if options.scorers == "all" else [name for name in options.scorers.split(",") if name]
    )
    for name in wanted:
        if name != method_name(own.spec):
            yield BundleDetector(encoder, name, name=f"{own.name}+{name}")
    yield Plain(
        _FLOOR,
        "bench-floor-2",
        lambda level: np.concatenate([level.max(0), level.std(0)]),
        MetricSpec("standardized-euclidean", "none", FLOOR_DB),
    )
    yield Plain(_MEAN, "bench-mean-2", lambda level: np.asarray(level.mean(0)), MetricSpec())
    cache = FeatureCache(options.cache)

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    if options.audio_anomaly:
        yield KeptScores(AudioAnomaly(), "1", cache, tell)  # its name holds the package's version
    if options.autoencoder:
        yield KeptScores(Autoencoder(seed=options.seed), f"{VERSION}, seed {options.seed}", cache, tell)


def points_of(dataset: Dataset, detectors: Sequence[Detector], options: argparse.Namespace) -> dict[str, Array]:
    """Return each detector's AUC in points, (ids, splits); the table of machine ids is printed."""
    cache = FeatureCache(options.cache)
    extractor = FeatureExtractor(
        cache, lambda _: None, lambda line: print(line, file=sys.stderr), jobs=os.cpu_count() or 1
    )
    figures = measure(
        dataset,
        detectors,
        extractor,
        lambda line: print(line, file=sys.stderr),
        resplits=options.splits,
        seed=options.seed,
    )
    ids = {(row.machine, row.machine_id): row for row in figures.rows}
    names = [name for name in figures.detectors if len(figures.of(name)) == len(ids)]
    print("| machine id | normal | anomaly | " + " | ".join(names) + " |\n|---|--:|--:|" + "--:|" * len(names))
    for (machine, number), row in ids.items():
        cells = " | ".join(f"{one.auc:.1f}" for one in figures.of_id(machine, number) if one.detector in names)
        print(f"| {machine} {number} | {row.n_train + row.n_normal} | {row.n_anomaly} | {cells} |")
    points = {name: np.stack([row.aucs for row in figures.of(name)]) for name in names}
    own = points[names[0]]
    print("| **mean** | | | " + " | ".join(f"**{found.mean():.1f}**" for found in points.values()) + " |")
    print("| 95 % interval | | | " + " | ".join(_span(found, "{:.1f}") for found in points.values()) + " |")
    ahead = [f"{(own - found).mean():+.1f} ({_span(own - found)})" for found in list(points.values())[1:]]
    print(" | ".join([f"| {names[0]} is better by | | | ", *ahead]) + " |\n", flush=True)
    return points


def _span(points: Array, form: str = "{:+.1f}") -> str:
    return " to ".join(form.format(end) for end in interval(points))


def main() -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).parents[2] / "shared/recordings/mimii"
    known = Path(os.environ.get("EDGE_MONITOR_RECORDINGS", beside))
    parser.add_argument("dataset", type=Path, nargs="?", default=known, help="default: $EDGE_MONITOR_RECORDINGS")
    parser.add_argument("--bundle", default="spectral", help="a bundle's name, or a path with a slash")
    parser.add_argument("--scorers", default="", help="further columns: 'all', or names with commas between")
    parser.add_argument("--mixed", action="store_true", help="six more conditions, with another machine's normal sound")
    parser.add_argument("--audio-anomaly", action="store_true", help="PyPI's audio-anomaly, if it is installed")
    parser.add_argument("--autoencoder", action="store_true", help="needs torch, and time")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=default_cache().with_name("bench"))
    options = parser.parse_args()
    if not options.dataset.is_dir():
        print(f"not measured: no recordings at {options.dataset}")
        return 0
    clean, detectors = read_dataset(options.dataset), list(detectors_of(options))
    print(f"AUC in points, mean over {options.splits} splits (seed {options.seed}); {K} nearest neighbours\n")
    conditions = [points_of(clean, detectors, options)]
    for gain, seed in MIXES if options.mixed else ():
        print(f"With another machine's normal sound at {gain:g} of the RMS, seed {seed}:\n")
        with tempfile.TemporaryDirectory() as folder:
            conditions.append(points_of(mixed(clean, gain, seed, Path(folder)), detectors, options))
    print("| points against the floor detector | clean | 95 % interval | all conditions | bound | worst id |")
    print("|---|--:|---|--:|--:|--:|")
    for name in conditions[0]:
        differences = np.stack([points[name] - points[_FLOOR] for points in conditions])  # (condition, ids, splits)
        bound = float(np.mean([interval(difference, draws=2000)[0] for difference in differences]))
        print(
            f"| {name} | {differences[0].mean():+.1f} | {_span(differences[0])} | {differences.mean():+.1f}"
            f" | {bound:+.1f} | {differences.mean(axis=2).min():+.1f} |"
        )
    print("\nIntervals: two-stage bootstrap of the paired differences, ids then splits.")
    own = detectors[0].name
    lower, _ = interval(conditions[0][own] - conditions[0][_FLOOR])
    print(f"{'pass' if lower > PASS_POINTS else 'FAIL'}: {own}: the lower bound on clean recordings must be > -1 point")
    return 0 if lower > PASS_POINTS else 1


if __name__ == "__main__":
    sys.exit(main())
