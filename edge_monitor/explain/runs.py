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
AROUND_S = 0.05  # a moment is marked from so long before to so long after


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring bands that change together."""

    hz: Band
    difference_db: float
    deviation: float
    own_db: float
    normal_db: float


def runs_of(compared: Comparison, part: str, least: float) -> list[Run]:
    """Return neighbouring bands that have risen or fallen together."""
    bands = compared.layout.noise_hz if part == "noise" else compared.layout.loud_hz
    deviation, difference = compared.deviations(part), compared.values(part)
    where = compared.layout.parts[part]
    taken: set[int] = set()
    runs = []
    for top in np.argsort(-np.abs(deviation)).tolist():
        if top in taken or abs(deviation[top]) < least:
            continue
        joins = np.sign(deviation[top]) * deviation >= _JOINS * least
        first = last = top
        while first > 0 and joins[first - 1] and first - 1 not in taken:
            first -= 1
        while last + 1 < len(bands) and joins[last + 1] and last + 1 not in taken:
            last += 1
        taken.update(range(first, last + 1))
        inside = slice(where.start + first, where.start + last + 1)
        runs.append(
            Run(
                (bands[first][0], bands[last][1]),
                float(np.median(difference[first : last + 1])),
                float(abs(deviation[top])),
                _sum_db(compared.own[inside]),
                _sum_db(compared.normal[inside]),
            )
        )
    return runs


def _sum_db(levels_db: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.sum(10 ** (levels_db / 10))))


def level(run: Run) -> Finding:
    """Return the finding of a run of noise levels."""
    text = f"the noise in {band(*run.hz)} is {change(run.difference_db, ('louder', 'weaker'))}"
    return Finding("band-level", text, run.own_db, run.normal_db, "dB", run.deviation, run.hz)


def burst(compared: Comparison, run: Run) -> Finding:
    """Return the finding of a run of loud moments, with their times when they are louder."""
    text = f"the loud moments in {band(*run.hz)} are {change(run.difference_db, ('louder', 'weaker'))}"
    times: tuple[tuple[float, float], ...] = ()
    if run.difference_db > 0:
        near = [i for i in compared.anomaly.impulses if overlap((i.low_hz, i.high_hz), run.hz)]
        moments = max((i.moments_s for i in near), key=len, default=())
        times = tuple((max(0.0, at - AROUND_S), at + AROUND_S) for at in moments)
    return Finding("loud-moments", text, run.own_db, run.normal_db, "dB", run.deviation, run.hz, times)


def overlap(one: Band, other: Band) -> bool:
    """Return whether two bands share frequencies."""
    return one[0] < other[1] and other[0] < one[1]


def inside(hz: Band, bands: Sequence[Band]) -> bool:
    """Return whether at least half of a band (in octaves) lies in one of these."""
    for low, high in bands:
        shared = np.log2(min(hz[1], high) / max(hz[0], low))
        if shared >= 0.5 * np.log2(hz[1] / hz[0]):
            return True
    return False
