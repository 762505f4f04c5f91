"""How often healthy sound is called `rising`, whether a slope's interval holds, and how early a growing fault is seen.

    python -m bench.trend [--installations 40] [--days 7]

Scores are simulated, not heard. Each installation learns from a stretch of its process as the product does; then its
10-minute medians are looked at as the daemon does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.calibration import PER_DAY, wanting
from bench.processes import LEARNT, PROCESSES
from bench.thresholds import product
from edge_monitor.alarm.trend import trend
from edge_monitor.records import Direction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.calibration import Process

    Array = NDArray[np.float64]

STEP_S, SPAN, HOUR, WEEK = 600.0, 72, 6, 7 * 144  # seconds; the others in medians
LOOK_EVERY = 3  # medians: the daemon looks each ten minutes; most of that finds the same


@dataclass(frozen=True, slots=True)
class Medians:
    """What the daemon keeps of a stream: medians of its minutes' means."""

    ten: Array  # (n,) 10 minutes each
    hour: Array  # (n / 6,)

    @classmethod
    def of(cls, score: Array) -> Medians:
        """Make them of windows' scores, (windows,)."""
        minutes = score[: len(score) // 360 * 360].reshape(-1, 6).mean(axis=1)
        return cls(np.median(minutes.reshape(-1, 10), axis=1), np.median(minutes.reshape(-1, 60), axis=1))


def looks(medians: Medians, threshold: float, usual: float, *, every: int = LOOK_EVERY) -> list[bool]:
    """Return whether each look says `rising`."""
    found = []
    for end in range(2 * HOUR, len(medians.ten), every):
        ratio = medians.ten[max(end - SPAN, 0) : end] / threshold
        # Below half-way it cannot be rising: saves the work.
        if ratio[-HOUR:].max() < np.sqrt(usual / threshold):
            found.append(False)
            continue
        begun = (end - len(ratio)) // HOUR
        before = medians.hour[max(begun - WEEK // HOUR, 0) : begun] / threshold
        time_s = STEP_S * np.arange(len(ratio), dtype=np.float64)
        found_trend = trend(time_s, ratio, step_s=STEP_S, usual=usual / threshold, before=before)
        found.append(found_trend is not None and found_trend.direction is Direction.RISING)
    return found


def false_rising(process: Process, installations: int, days: int) -> None:
    """Print how often a day each length learnt ends in `rising`, begun anew."""
    draw = np.random.default_rng(5)
    score = process.simulate(draw, (1 + days) * PER_DAY, installations)
    cells = []
    for take in LEARNT.values():
        begun = 0
        for stream in score:
            found = product(*take(stream[:PER_DAY], draw), wanting(0.1))
            seen = looks(Medians.of(stream[PER_DAY:]), found.threshold, found.median_score)
            begun += sum(now and not before for before, now in zip([False, *seen[:-1]], seen, strict=True))
        cells.append(f"{begun / (installations * days):.3f}")
    print(f"| {process.name} | {' | '.join(cells)} |", flush=True)


def coverage(correlation: float, *, first: int, draws: int = 400) -> float:
    """Return how often a slope lies in its interval: a line from median `first` on in AR(1) noise about it."""
    draw, time_s = np.random.default_rng(1), STEP_S * np.arange(SPAN, dtype=np.float64)
    slope_per_s, held = 0.02 / STEP_S, 0
    for _ in range(draws):
        noise = draw.standard_normal(SPAN)
        for i in range(1, SPAN):
            noise[i] = correlation * noise[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
        level = slope_per_s * np.maximum(time_s - time_s[first], 0.0) + 0.1 * noise - 1.5
        found = trend(time_s, np.exp(level), step_s=STEP_S, usual=0.2)
        held += found is not None and found.low_per_s <= slope_per_s <= found.high_per_s
    return held / draws


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installations", type=int, default=40)
    parser.add_argument("--days", type=int, default=7)
    given = parser.parse_args()
    print(f"| `rising` a day | {' | '.join(LEARNT)} |\n|---|{'--:|' * len(LEARNT)}")
    for process in PROCESSES:
        false_rising(process, given.installations, given.days)
    print("\n| slope within its interval, % | line of 12 h | 6 h | 3 h |\n|---|--:|--:|--:|")
    for correlation in (0.0, 0.5, 0.8, 0.92):
        held = (coverage(correlation, first=first) for first in (0, 36, 54))
        print(
            f"| medians correlated by {correlation} | {' | '.join(f'{100 * each:.0f}' for each in held)} |", flush=True
        )


if __name__ == "__main__":
    main()
