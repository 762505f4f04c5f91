"""One window beside its neighbours: every figure's difference and deviation, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.figures import differences, rows_of, slot_of
from edge_monitor.explain.spread import alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.explain.figures import RowLayout
    from edge_monitor.explain.impulses import Rhythm
    from edge_monitor.explain.spread import Spread
    from edge_monitor.explain.tones import Tone

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of an anomaly from the medians of its neighbours."""

    anomaly: Acoustics
    neighbours: tuple[Acoustics, ...]
    layout: RowLayout
    own: Array  # (size,) the anomaly's figures
    normal: Array  # (size,) the neighbours' medians
    difference: Array  # (size,) signed, in each figure's unit
    deviation: Array  # (size,) signed; 1 = just stands out

    def values(self, part: str) -> Array:
        """Return the differences of a part."""
        return self.difference[self.layout.parts[part]]

    def deviations(self, part: str) -> Array:
        """Return the deviations of a part."""
        return self.deviation[self.layout.parts[part]]

    def tone_deviation(self, tone: Tone) -> float:
        """Return how far one of the anomaly's tones stands out."""
        return float(self.deviations("tones")[slot_of(tone.hz, self.layout.tone_slots)])

    def rhythm_deviation(self, rhythm: Rhythm) -> float:
        """Return how far one of the anomaly's rhythms stands out."""
        return float(self.deviations("rhythms")[slot_of(rhythm.per_s, self.layout.rhythm_slots)])


def comparison(anomaly: Acoustics, neighbours: Sequence[Acoustics], spread: Spread) -> Comparison:
    """Return the anomaly beside its neighbours, each difference over the spread of the normals.

    A strong fault pulls in neighbours at another load or speed, from which all else differs too. So the window is also
    compared with the normals that are most like it in most bands, and of the two differences the smaller one counts.
    Raises ExplainError when they were measured at different rates.
    """
    own = rows_of([anomaly], spread.layout)  # (1, size)
    others = rows_of(neighbours, spread.layout)  # (k, size)
    nearest = differences(own, others[None], spread.layout)[0]
    matched = differences(own, alike(own[0], spread)[None], spread.layout)[0]
    smaller = np.where(np.abs(nearest) <= np.abs(matched), nearest, matched)
    difference = np.where(nearest * matched > 0, smaller, 0.0)
    return Comparison(
        anomaly=anomaly,
        neighbours=tuple(neighbours),
        layout=spread.layout,
        own=own[0],
        normal=np.median(others, axis=0),
        difference=difference,
        deviation=difference / spread.unit,
    )
