"""How often healthy sound is called `rising`, whether a slope's interval holds, and how early a growing fault is seen.

    python -m bench.trend [--installations 40] [--days 7]

Scores are simulated, not heard. Each installation learns from a stretch of its process as the product does; then its
10-minute medians are looked at as the daemon does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.calibration import DEVELOPED_ON, KEPT_BACK, PER_DAY, calibrated, waves
from edge_monitor.alarm.trend import trend
from edge_monitor.records import Direction

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SPREAD = 0.25  # of log scores
STEP_S, SPAN, HOUR, WEEK = 600.0, 72, 6, 7 * 144  # seconds; the others in medians
LEARNT = {"7 clips": 7, "5 min": 30, "10 min": 60, "24 h": PER_DAY}  # windows
LOOK_EVERY = 3  # medians: the daemon looks each ten minutes; most of that finds the same


def autoregressive(draw: np.random.Generator, windows: int, streams: int, minutes: float) -> Array:
    """Return log-normal scores whose correlation falls to 1/e in so many minutes."""
    return np.asarray(np.exp(SPREAD * waves(draw, windows, streams, minutes)))


def day_and_night(draw: np.random.Generator, windows: int, streams: int, spreads: float) -> Array:
    """Return scores that go up and down once a day, by so many spreads each way."""
    hours = 2 * np.pi * (np.arange(windows) / PER_DAY + draw.random((streams, 1)))
    return np.asarray(np.exp(SPREAD * (waves(draw, windows, streams, 2.0) + spreads * np.sin(hours))))


def random_walk(draw: np.random.Generator, windows: int, streams: int, spreads: float) -> Array:
    """Return scores whose level walks at random, so many spreads a day."""
    walk = np.cumsum(draw.standard_normal((streams, windows)), axis=1) * spreads / PER_DAY**0.5
    return np.asarray(np.exp(SPREAD * (waves(draw, windows, streams, 2.0) + walk)))


def sessions(draw: np.random.Generator, windows: int, streams: int, spreads: float) -> Array:
    """Return scores whose level is another one every eight hours, by so many spreads."""
    level = np.repeat(draw.standard_normal((streams, windows // 2880 + 1)), 2880, axis=1)[:, :windows]
    return np.asarray(np.exp(SPREAD * (waves(draw, windows, streams, 2.0) + spreads * level)))


PROCESSES: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    **{each.name: each.simulate for each in (*DEVELOPED_ON, *KEPT_BACK)},
    **{f"AR(1), {m} min": partial(autoregressive, minutes=m) for m in (1, 5)},
    **{f"day and night, {s} spreads": partial(day_and_night, spreads=s) for s in (0.2, 0.5, 1.0)},
    **{f"random walk, {s} spreads a day": partial(random_walk, spreads=s) for s in (0.5, 1.0)},
    **{f"sessions, {s} spreads": partial(sessions, spreads=s) for s in (0.25, 0.5, 1.0)},
}


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


def false_rising(name: str, installations: int, days: int) -> None:
    """Print how often a day each length learnt ends in `rising`, begun anew."""
    cells = []
    for learnt in LEARNT.values():
        score = PROCESSES[name](np.random.default_rng(5), days * PER_DAY + learnt, installations)
        begun = 0
        for stream in score:
            found = calibrated(stream[:learnt], 0.1)
            seen = looks(Medians.of(stream[learnt:]), found.threshold, found.median_score)
            begun += sum(now and not before for before, now in zip([False, *seen[:-1]], seen, strict=True))
        cells.append(f"{begun / (installations * days):.3f}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


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
    for name in PROCESSES:
        false_rising(name, given.installations, given.days)
    print("\n| slope within its interval, % | line of 12 h | 6 h | 3 h |\n|---|--:|--:|--:|")
    for correlation in (0.0, 0.5, 0.8, 0.92):
        held = (coverage(correlation, first=first) for first in (0, 36, 54))
        print(
            f"| medians correlated by {correlation} | {' | '.join(f'{100 * each:.0f}' for each in held)} |", flush=True
        )


if __name__ == "__main__":
    main()
