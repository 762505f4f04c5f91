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

from bench.calibration import PER_DAY, RULES, WINDOW_S
from bench.processes import LEARNT, PROCESSES
from bench.thresholds import product
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.records import LOW_LINE_SHARE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.memory.calibration import Calibration

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]

HOUR, THREE_HOURS = 360, 1080  # windows
_CLEARED = 0.5  # of the hour's windows above the line: fewer end an episode
_MONTH_DAYS = 30.0


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
