"""Thresholds from normal sound alone: false alarms asked for against false alarms observed, method by method.

    python -m bench.calibration [--seeds 200] [--days 100] [--raise 3 5] [--dataset DATASET]

Simulated score streams with three kinds of tail, each window like its neighbours for minutes, and two more processes
that no method was developed on. A threshold is set on an hour, a day or a week; then the product's alarm runs at it
over months of the same process. With DATASET (DCASE 2020 layout) recordings are scored, window by window.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.thresholds import METHODS, product
from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.config.machine import AlarmSettings
from edge_monitor.memory.calibration import CalibrationSettings, allowed_exceedance
from edge_monitor.memory.leaveout import Layout, block_of
from edge_monitor.records import EventKind, Score

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_monitor.memory.calibration import Calibration

    Array = NDArray[np.float64]

LENGTHS = {"1 h": (1 / 24, 1), "1 day": (1.0, 1), "7 days": (7.0, 4)}  # days of normal sound; one seed in so many
WANTED_PER_DAY = (10.0, 1.0, 0.1)
COMPARED = 20  # streams on which all methods are fitted; the product's promise is checked on more
WINDOW_S = 10.0
PER_DAY = 8640  # windows


def rules_of(m: int, n: int) -> AlarmSettings:
    """Return the default alarm's rules, but for m of n."""
    return AlarmSettings.model_validate({"raise": (m, n)})


RULES = rules_of(3, 5)


@dataclass(frozen=True, slots=True)
class Process:
    """A stationary process of healthy windows' scores."""

    name: str
    simulate: Callable[[np.random.Generator, int, int], Array]  # windows, streams -> (streams, windows)


def waves(draw: np.random.Generator, windows: int, streams: int, minutes: float) -> Array:
    """Return Gaussian noise whose correlation falls to 1/e in so many minutes, (streams, windows), stationary."""
    kept = math.exp(-WINDOW_S / (60 * minutes))
    series = draw.standard_normal((windows, streams))  # (windows, streams): each step is one row
    series[1:] *= math.sqrt(1 - kept**2)
    for i in range(1, windows):
        series[i] += kept * series[i - 1]
    return np.ascontiguousarray(series.T)


def gamma(draw: np.random.Generator, windows: int, streams: int) -> Array:
    """Return 1 + 0.15 x a gamma variable of shape 2: the squares of four Gaussian processes: five minutes long."""
    squares = sum(waves(draw, windows, streams, 10.0) ** 2 for _ in range(4))
    return np.asarray(1 + 0.15 * squares / 2)


def log_waves(minutes: float) -> Callable[[np.random.Generator, int, int], Array]:
    """Return what simulates log-normal scores, spread 0.25, so many minutes long."""

    def simulate(draw: np.random.Generator, windows: int, streams: int) -> Array:
        return np.asarray(np.exp(0.25 * waves(draw, windows, streams, minutes)))

    return simulate


def pareto(draw: np.random.Generator, windows: int, streams: int) -> Array:
    """Return Pareto scores of tail index 4 (fourth moments do not exist), three minutes long."""
    exponential = sum(waves(draw, windows, streams, 6.0) ** 2 for _ in range(2)) / 2
    return np.asarray(np.exp(exponential / 4))


def regimes(draw: np.random.Generator, windows: int, streams: int) -> Array:
    """Return a machine with two loads (an hour and ten minutes on average), each with Student-t noise (5)."""
    level = np.empty((windows, streams))
    high = draw.random(streams) < 1 / 7
    for row in level:
        high = np.where(high, draw.random(streams) > 1 / 60, draw.random(streams) < 1 / 360)
        row[:] = np.where(high, 1.3, 1.0)
    return np.asarray(level.T * np.exp(0.08 * draw.standard_t(5, (streams, windows))))


def slow_and_fast(draw: np.random.Generator, windows: int, streams: int) -> Array:
    """Return log-Laplace-like scores that vary within seconds, minutes and two hours at once."""
    slow = waves(draw, windows, streams, 120.0)
    middle = waves(draw, windows, streams, 4.0)
    fast = draw.standard_exponential((streams, windows))
    return np.asarray(np.exp(0.1 * slow + 0.12 * middle + 0.1 * fast))


DEVELOPED_ON = (Process("gamma", gamma), Process("log-normal", log_waves(5.0)), Process("Pareto", pareto))
KEPT_BACK = (Process("two loads", regimes), Process("slow and fast", slow_and_fast))


def layout_of(windows: int) -> Layout:
    """Return the layout of one unbroken stream."""
    start_s = WINDOW_S * np.arange(windows, dtype=np.float64)
    block = np.array([block_of(start) for start in start_s])
    return Layout(np.zeros(windows, dtype=np.int64), block, start_s)


def wanting(false_alarms_per_day: float, rules: AlarmSettings = RULES) -> CalibrationSettings:
    """Return an alarm's settings."""
    return CalibrationSettings(WINDOW_S, false_alarms_per_day, *rules.raise_)


def calibrated(score: Array, false_alarms_per_day: float, rules: AlarmSettings = RULES) -> Calibration:
    """Return what the product calibrates from the scores of one unbroken stream, (windows,)."""
    return product(score, layout_of(len(score)), wanting(false_alarms_per_day, rules))


def alarms(score: Array, threshold: float, rules: AlarmSettings = RULES) -> int:
    """Return how often the product's alarm starts on a stream, (windows,), at a threshold.

    Windows far from any that exceed are not played: nothing can happen there.
    """
    machine = AlarmStateMachine("machine", rules, lambda: "alarm", Restored())
    window = np.arange(-rules.raise_[1], rules.raise_[1] + math.ceil(rules.off_delay_s / WINDOW_S) + 2)
    near = np.unique(
        np.clip(np.flatnonzero(score > rules.clear_ratio * threshold)[:, None] + window, 0, len(score) - 1)
    )
    started = 0
    for i in near.tolist():
        heard = Score("machine", float(score[i]), threshold, 1, (), WINDOW_S * i, WINDOW_S * (i + 1), -20.0)
        event = machine.on_score(heard, 0)
        started += event is not None and event.kind is EventKind.START
    return started


@dataclass(frozen=True, slots=True)
class Truth:
    """Alarms per day of a process at any threshold, from a long stream by the product's own alarm."""

    thresholds: Array  # ascending
    per_day: Array

    def at(self, threshold: Array) -> Array:
        """Return alarms per day at thresholds; between those that were played a little too many (the curve sags)."""
        return np.asarray(np.interp(threshold, self.thresholds, self.per_day))


def truth(
    process: Process, days: int, rules: AlarmSettings = RULES, *, thresholds: int = 40, streams: int = 10
) -> Truth:
    """Play `days` of a process at so many thresholds."""
    score = process.simulate(np.random.default_rng(1), days * PER_DAY // streams, streams)
    m, n = rules.raise_
    windows = np.lib.stride_tricks.sliding_window_view(score, n, axis=1)
    alarm_level = np.sort(windows, axis=2)[:, :, n - m].ravel()  # the m-th largest of n
    # from a window in ten in the alarm condition to the highest ever seen
    parts = np.concatenate([[0.1], np.geomspace(0.05, 1 / len(alarm_level), thresholds - 2)])
    played = np.unique(np.append(np.quantile(alarm_level, 1 - parts), alarm_level.max()))
    return Truth(
        played, np.array([sum(alarms(stream, each, rules) for stream in score) / days for each in played.tolist()])
    )


def compare(process: Process, seeds: int, days: int, rules: AlarmSettings) -> None:
    """Print the process's rows: mean alarms per day at each method's thresholds, then how the promise was kept."""
    observed = truth(process, days, rules, thresholds=25)
    for length, (heard_days, share) in LENGTHS.items():
        count = max(1, seeds // share)
        windows = round(heard_days * PER_DAY)
        layout = layout_of(windows)
        settings = [wanting(rate, rules) for rate in WANTED_PER_DAY]
        thresholds: dict[str, list[list[float]]] = {name: [] for name in METHODS}
        found: list[list[Calibration]] = []
        streams = (
            score
            for part in range(0, count, COMPARED)
            for score in process.simulate(np.random.default_rng((2, part)), windows, min(COMPARED, count - part))
        )
        for seed, score in enumerate(streams):
            found.append([product(score, layout, each) for each in settings])
            if seed < COMPARED:
                for name, method in METHODS.items():
                    thresholds[name].append(method(score, layout, settings))
        for i, rate in enumerate(WANTED_PER_DAY):
            means = [observed.at(np.array(thresholds[name])[:, i]).mean() for name in METHODS]
            stated = np.array([each[i].at_most_per_day for each in found])
            held = observed.at(np.array([each[i].threshold for each in found])) <= stated
            print(
                f"| {process.name} | {length} | {rate:g} | "
                + " | ".join(f"{mean:.2g}" for mean in means)
                + f" | {np.median(stated):.2g} | {100 * held.mean():.1f} % |",
                flush=True,
            )


def recordings(dataset: Path, splits: int = 40) -> None:
    """Print how many normal clips that were kept back exceed, how many anomalous ones, and the normal ones' alarms.

    Alarms are counted with each split's normal clips played in a row, clips being windows.
    """
    from edge_monitor.encode.bundle import find_bundle
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.evaluate.datasets import read_dataset
    from edge_monitor.evaluate.learnt import ClipEncoder
    from edge_monitor.memory.distance import K
    from edge_monitor.memory.leaveout import leave_block_out
    from edge_monitor.memory.scoring_methods import fit

    clip_encoder = ClipEncoder(Encoder(find_bundle("spectral", None), 1))
    settings = [wanting(rate) for rate in (*WANTED_PER_DAY, 100.0)]
    shares: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in METHODS}  # [id and split][wanted]
    started: dict[str, list[list[int]]] = {name: [] for name in METHODS}  # the same
    played_s = 0.0
    for one in read_dataset(dataset).individuals:
        clips = sorted((*one.train, *one.test), key=lambda clip: clip.anomalous)
        heard = np.stack(
            [clip_encoder.encode(clip)[0].embedding.vector for clip in clips]
        )  # (clips, dim): one window each
        vectors, anomalous = np.split(heard, [sum(not clip.anomalous for clip in clips)])
        for split in range(splits):
            order = np.random.default_rng((3, split)).permutation(len(vectors))
            learnt, kept = np.split(vectors[order], [max(5, round(0.6 * len(vectors)))])
            layout = Layout(np.arange(len(learnt)), np.zeros(len(learnt), dtype=np.int64), np.zeros(len(learnt)))
            score = leave_block_out(learnt, layout, clip_encoder.spec, k=K, window_s=WINDOW_S).score
            fitted = fit(None, learnt, clip_encoder.spec, K)
            new, faulty = fitted.scores(kept), fitted.scores(anomalous)
            played_s += len(new) * WINDOW_S
            for name, method in METHODS.items():
                thresholds = method(score, layout, settings)
                shares[name].append(
                    [(float((new > each).mean()), float((faulty > each).mean())) for each in thresholds]
                )
                started[name].append([alarms(new, each) for each in thresholds])
    for i, each in enumerate(settings):
        share = [100 * np.array(shares[name])[:, i].mean(axis=0) for name in METHODS]  # false alarms, hits
        per_day = [np.array(started[name])[:, i].sum() / (played_s / 86_400) for name in METHODS]
        cells = " | ".join(
            f"{part[0]:.1f} %, {rate:.0f} / {part[1]:.0f} %" for part, rate in zip(share, per_day, strict=True)
        )
        print(f"| {each.false_alarms_per_day:g} | {100 * allowed_exceedance(each):.2g} % | {cells} |")


def main() -> None:
    """Print one Markdown table; with recordings a second one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="streams the promise is checked on")
    parser.add_argument("--days", type=int, default=100, help="of each process that alarms are counted on")
    parser.add_argument("--dataset", type=Path, default=os.environ.get("EDGE_MONITOR_RECORDINGS"))
    parser.add_argument(
        "--raise",
        dest="rules",
        type=int,
        nargs=2,
        metavar=("M", "N"),
        default=(3, 5),
        help="windows that raise an alarm on the streams: m of n",
    )
    arguments = parser.parse_args()
    print("| scores | normal sound | wanted per day | " + " | ".join(METHODS) + " | stated at most | held |")
    print("|---|---|---|" + "---|" * (len(METHODS) + 2))
    for process in (*DEVELOPED_ON, *KEPT_BACK):
        compare(process, arguments.seeds, arguments.days, rules_of(*arguments.rules))
    if arguments.dataset is None:
        print("\nRecordings: not measured, no --dataset")
        return
    print("\n| wanted per day | a window may exceed | " + " | ".join(METHODS) + " |\n|---|---|" + "---|" * len(METHODS))
    recordings(arguments.dataset)


if __name__ == "__main__":
    main()
