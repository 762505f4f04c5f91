"""False alarms of the whole rule on healthy sound that drifts: 3 of 5, the hour's memory and the three hours'.

    python -m bench.false_alarms [--installations 150] [--days 3] [--only NAME ...]

Simulated scores of 17 kinds of machine: five as in bench.calibration, sound that resembles itself for minutes, days and
nights, random walks, alternating loads, shifts that differ. Each installation learns a little of one day, then the
rules run over the next days, as the alarm's state machine has them.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

import numpy as np

from bench.calibration import DEVELOPED_ON, KEPT_BACK, PER_DAY, RULES, WINDOW_S, Process, layout_of, log_waves, waves
from bench.thresholds import product
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.leaveout import Layout
from edge_monitor.records import LOW_LINE_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_monitor.memory.calibration import Calibration

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Drift = Callable[[np.random.Generator, int, int], Array]  # windows, installations -> (installations, windows)

SPREAD = 0.25  # of log scores within a minute
HOUR, THREE_HOURS = 360, 1080  # windows
_CLEARED = 0.5  # of the hour's windows above the line: fewer end an episode
_MONTH_DAYS = 30.0


def _slowly(drift: Drift) -> Callable[[np.random.Generator, int, int], Array]:
    """Return scores that vary from window to window, from minute to minute, and by `drift`, in spreads."""

    def simulate(draw: np.random.Generator, windows: int, installations: int) -> Array:
        fast = draw.standard_normal((installations, windows)) + waves(draw, windows, installations, 1.0)
        return np.asarray(np.exp(SPREAD * (fast / math.sqrt(2) + drift(draw, windows, installations))))

    return simulate


def _day_and_night(spreads: float) -> Drift:
    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        day = np.arange(windows) / PER_DAY + draw.random((installations, 1))
        return np.asarray(spreads * np.sin(2 * np.pi * day))

    return drift


def _walk(spreads_a_day: float) -> Drift:
    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        steps = draw.standard_normal((installations, windows)) * spreads_a_day / math.sqrt(PER_DAY)
        return np.asarray(steps.cumsum(axis=1))

    return drift


def _loads(spreads: float, minutes: float) -> Drift:
    """Two loads, each of so many minutes on average."""

    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        changes = draw.random((installations, windows)) < WINDOW_S / (60 * minutes)
        return np.asarray(spreads * ((changes.cumsum(axis=1) + draw.integers(0, 2, (installations, 1))) % 2))

    return drift


def _shifts(spreads: float) -> Drift:
    """Shifts of eight hours, each with a level of its own."""

    def drift(draw: np.random.Generator, windows: int, installations: int) -> Array:
        length = PER_DAY // 3
        level = draw.standard_normal((installations, windows // length + 2))
        shift = (np.arange(windows) + draw.integers(0, length, (installations, 1))) // length
        return np.asarray(spreads * np.take_along_axis(level, shift, axis=1))

    return drift


PROCESSES = (
    *DEVELOPED_ON,
    *KEPT_BACK,
    *(Process(f"{minutes} min alike", log_waves(minutes)) for minutes in (1, 2)),
    *(Process(f"day and night {spreads:g}", _slowly(_day_and_night(spreads))) for spreads in (0.2, 0.5, 1.0)),
    *(Process(f"walk of {spreads:g} a day", _slowly(_walk(spreads))) for spreads in (0.5, 1.0)),
    Process("loads 1 apart, 20 min", _slowly(_loads(1.0, 20.0))),
    Process("loads 2 apart, 1 h", _slowly(_loads(2.0, 60.0))),
    *(Process(f"shifts {spreads:g} apart", _slowly(_shifts(spreads))) for spreads in (0.25, 0.5, 1.0)),
)


def seven_clips(score: Array, draw: np.random.Generator) -> tuple[Array, Layout]:
    """Return seven windows of a day, each a recording of its own."""
    chosen = np.sort(draw.choice(len(score), 7, replace=False))
    return score[chosen], Layout(np.arange(7), np.zeros(7, dtype=np.int64), np.zeros(7))


def in_a_row(minutes: float) -> Callable[[Array, np.random.Generator], tuple[Array, Layout]]:
    """Return what takes the last minutes of a day as one recording."""

    def take(score: Array, _draw: np.random.Generator) -> tuple[Array, Layout]:
        windows = round(60 * minutes / WINDOW_S)
        return score[-windows:], layout_of(windows)

    return take


LEARNT = {"7 clips": seven_clips, "5 min": in_a_row(5), "10 min": in_a_row(10), "24 h": in_a_row(24 * 60)}


def counted(true: Flags, windows: int) -> NDArray[np.int32]:
    """Return how many of the last so many windows are true, (installations, windows)."""
    total = true.cumsum(axis=1, dtype=np.int32)
    total[:, windows:] -= total[:, :-windows].copy()
    return np.asarray(total)


def begun(begins: Flags, ends: Flags) -> NDArray[np.int64]:
    """Return how often each installation's state begins, (installations,), that `begins` and `ends` switch."""
    switched = np.where(begins, 1, np.where(ends, -1, 0))
    last = np.maximum.accumulate(np.where(switched, np.arange(begins.shape[1]), 0), axis=1)
    on = np.take_along_axis(switched, last, axis=1) > 0
    return np.asarray(on[:, 0].astype(np.int64) + (on[:, 1:] & ~on[:, :-1]).sum(axis=1))


def play(score: Array, found: list[Calibration]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return alarms and episodes of level 2 of each installation, (installations,), on scores (installations, windows).

    An alarm that a memory raised ends with the hour's memory, and none before the windows are below the clear level.
    """
    m, n = RULES.raise_
    threshold = np.array([[each.threshold] for each in found])
    line = np.array([[math.inf if each.low_line is None else each.low_line.value] for each in found])
    above = score > line
    hour, three_hours = counted(above, HOUR), counted(above, THREE_HOURS)
    calm = counted(score >= RULES.clear_ratio * threshold, round(RULES.off_delay_s / WINDOW_S) + 1) == 0
    ended = hour < _CLEARED * HOUR
    alarms = begun((counted(score > threshold, n) >= m) | (three_hours >= LOW_LINE_SHARE * THREE_HOURS), ended & calm)
    return alarms, begun(hour >= LOW_LINE_SHARE * HOUR, ended)


def main() -> None:
    """Print one Markdown table, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installations", type=int, default=150)
    parser.add_argument("--days", type=int, default=3, help="that the rules run")
    parser.add_argument("--only", nargs="*", help="these processes", metavar="NAME")
    arguments = parser.parse_args()
    settings = CalibrationSettings(WINDOW_S)
    print("| scores | " + " | ".join(LEARNT) + " |\n|---|" + "--:|" * len(LEARNT))
    rates: dict[str, list[float]] = {learnt: [] for learnt in LEARNT}
    for process in PROCESSES:
        if arguments.only and process.name not in arguments.only:
            continue
        draw = np.random.default_rng(5)
        score = process.simulate(draw, (1 + arguments.days) * PER_DAY, arguments.installations)
        first, later = score[:, :PER_DAY], score[:, PER_DAY:]
        cells = []
        for learnt, take in LEARNT.items():
            found = [product(*take(each, draw), settings) for each in first]
            alarms, episodes = play(later, found)
            played = arguments.installations * arguments.days
            stated = np.median([each.low_line.at_most_per_month if each.low_line else 0.0 for each in found])
            rates[learnt].append(alarms.sum() / played)
            cells.append(f"{rates[learnt][-1]:.2g}; {episodes.sum() * _MONTH_DAYS / played:.2g} ({stated:.3g})")
        print(f"| {process.name} | " + " | ".join(cells) + " |", flush=True)
    means = " | ".join(f"{np.mean(each):.2g}, at most {max(each):.2g}" for each in rates.values())
    print(f"| mean of alarms a day | {means} |")


if __name__ == "__main__":
    main()
