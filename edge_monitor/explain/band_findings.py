"""Neighbouring bands that have changed together, as findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.sentence import band, change
from edge_monitor.records import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.explain.comparison import Comparison

    Band = tuple[float, float]

_JOINS = 0.35  # a band joins its standing-out neighbour from this part of its deviation on
_THIRD = 2 ** (1 / 3) * 1.001
AROUND_S = 0.05  # a moment is marked from so long before to so long after


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring bands that change together."""

    hz: Band
    difference_db: float  # median over the bands
    deviation: float  # >= 0, of the band that deviates most
    level_db: float  # of the anomaly, all bands together
    peak_hz: float  # centre of the band with the largest difference
    peak_db: float  # that difference

    @property
    def normal_db(self) -> float:
        """Return the level without the difference, dB re full scale."""
        return self.level_db - self.difference_db


def runs_of(compared: Comparison, part: str, least: float) -> list[Run]:
    """Return neighbouring bands that have risen or fallen together."""
    bands = compared.layout.noise_hz if part == "noise" else compared.layout.loud_hz
    deviation, difference = compared.deviations(part), compared.values(part)
    own = compared.own[compared.layout.parts[part]]
    taken = np.zeros(len(bands), dtype=bool)
    runs = []
    for top in np.argsort(-np.abs(deviation)).tolist():
        if taken[top] or abs(deviation[top]) < least:
            continue
        first, last = around((np.sign(deviation[top]) * deviation >= _JOINS * least) & ~taken, top)
        part_of_run = slice(first, last + 1)
        taken[part_of_run] = True
        peak = first + int(np.argmax(np.abs(difference[part_of_run])))
        runs.append(
            Run(
                hz=(bands[first][0], bands[last][1]),
                difference_db=float(np.median(difference[part_of_run])),
                deviation=float(abs(deviation[top])),
                level_db=_sum_db(own[part_of_run]),
                peak_hz=float(np.sqrt(bands[peak][0] * bands[peak][1])),
                peak_db=float(difference[peak]),
            )
        )
    return runs


def around(joins: NDArray[np.bool_], place: int) -> tuple[int, int]:
    """Return the first and the last of the bands around this one that join it without a gap."""
    first = last = place
    while first > 0 and joins[first - 1]:
        first -= 1
    while last + 1 < len(joins) and joins[last + 1]:
        last += 1
    return first, last


def _sum_db(levels_db: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.sum(10 ** (levels_db / 10))))


def level(run: Run) -> Finding:
    """Return the finding of a run of noise levels."""
    text = f"the noise in {band(*run.hz)} is {change(run.difference_db, ('louder', 'weaker'))}"
    return Finding("band-level", text, run.level_db, run.normal_db, "dB", run.deviation, run.hz)


def burst(compared: Comparison, run: Run) -> Finding:
    """Return the finding of a run of loud moments, with their times when they are louder."""
    text = f"the loud moments in {band(*run.hz)} are {change(run.difference_db, ('louder', 'weaker'))}"
    times: tuple[tuple[float, float], ...] = ()
    if run.difference_db > 0:
        near = [i for i in compared.anomaly.impulses if overlap((i.low_hz, i.high_hz), run.hz)]
        moments = max((i.moments_s for i in near), key=len, default=())
        times = tuple((max(0.0, at - AROUND_S), at + AROUND_S) for at in moments)
    return Finding("loud-moments", text, run.level_db, run.normal_db, "dB", run.deviation, run.hz, times)


def overlap(one: Band, other: Band) -> bool:
    """Return whether two bands share frequencies."""
    return one[0] < other[1] and other[0] < one[1]


def skirts_of(run: Run, impulses: Sequence[Band]) -> bool:
    """Return whether impulses in one of these bands explain a rise.

    They are heard an octave to each side of where they are loudest, and further out where the rise falls off.
    """
    for low, high in impulses:
        near = low / 2 <= run.hz[0] * _THIRD and run.hz[1] <= 2 * high * _THIRD
        falls_off = (
            low <= run.peak_hz * _THIRD and run.peak_hz <= high * _THIRD and 2 * run.difference_db <= run.peak_db
        )
        if run.difference_db > 0 and (near or falls_off):
            return True
    return False
