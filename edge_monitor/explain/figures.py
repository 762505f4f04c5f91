"""One window's acoustics as a row of figures, so that windows can be subtracted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import ExplainError
from edge_monitor.explain.acoustics import loud_edges
from edge_monitor.explain.impulses import FASTEST_HZ, LEAST_RHYTHM_DB, SLOWEST_HZ
from edge_monitor.explain.spectrum import band_edges
from edge_monitor.explain.tones import LEAST_DB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.explain.acoustics import Acoustics

    Array = NDArray[np.float64]

SAME = 0.03  # relative difference of frequencies, and of rates, that are the same
_STEP = 2 ** (1 / 24)  # slots in which tones and rhythms are matched; the machine's speed varies by less
_LEAST_STEP_HZ = 4.0  # for tones: the spectrum's own resolution
_LEAST_STEP_PER_S = 0.75

# What two windows differ by at least before it can mean anything, whatever the normals' spread: in each part's unit.
LEAST = {
    "level": 0.5,
    "low": 0.5,
    "centroid": 0.05,
    "noise": 0.5,
    "variability": 0.3,
    "loud": 1.0,
    "kurtosis": 0.2,
    "count": 0.4,
    "swells": 0.05,
    "tones": 1.0,
    "rhythms": 2.0,
}
# Parts of one family are judged together: their most extreme values are of one kind.
FAMILIES = (
    ("level", "low", "centroid", "noise"),
    ("variability", "loud", "kurtosis", "count", "swells"),
    ("tones",),
    ("rhythms",),
)


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where each part of the row is; parts are in the order of `LEAST`."""

    rate_hz: int
    noise_hz: tuple[tuple[float, float], ...]
    loud_hz: tuple[tuple[float, float], ...]
    impulses_hz: tuple[tuple[float, float], ...]
    tone_slots: Array  # edges, Hz
    rhythm_slots: Array  # edges, 1/s
    parts: dict[str, slice]

    @property
    def size(self) -> int:
        """Return the length of a row."""
        return int(self.parts["rhythms"].stop)

    @property
    def least(self) -> Array:
        """Return each figure's least spread, (size,)."""
        return np.concatenate([np.full(part.stop - part.start, LEAST[name]) for name, part in self.parts.items()])


def layout_of(acoustics: Acoustics) -> RowLayout:
    """Return the layout that fits this window and all others at its rate."""
    edges = band_edges(acoustics.rate_hz).tolist()
    noise_hz = tuple(pairwise(edges))
    loud_hz = tuple(loud_edges(acoustics.rate_hz))
    impulses_hz = tuple((band.low_hz, band.high_hz) for band in acoustics.impulses)
    tone_slots = _slots(edges[0] - 4, edges[-1], _LEAST_STEP_HZ)
    rhythm_slots = _slots(SLOWEST_HZ - 0.75, FASTEST_HZ + 1, _LEAST_STEP_PER_S)
    counts = {
        **dict.fromkeys(("level", "low", "centroid"), 1),
        "noise": len(noise_hz),
        "variability": 1,
        "loud": len(loud_hz),
        "kurtosis": len(impulses_hz),
        "count": len(impulses_hz),
        "swells": len(impulses_hz),
        "tones": len(tone_slots) - 1,
        "rhythms": len(rhythm_slots) - 1,
    }
    ends = np.cumsum(list(counts.values())).tolist()
    parts = {name: slice(end - count, end) for (name, count), end in zip(counts.items(), ends, strict=True)}
    return RowLayout(acoustics.rate_hz, noise_hz, loud_hz, impulses_hz, tone_slots, rhythm_slots, parts)


def rows_of(sounds: Sequence[Acoustics], layout: RowLayout) -> Array:
    """Return the figures of windows, (sounds, size). Raises ExplainError when one was measured at another rate."""
    for sound in sounds:
        if sound.rate_hz != layout.rate_hz:
            raise ExplainError(f"figures measured at {sound.rate_hz} Hz cannot be compared with {layout.rate_hz} Hz")
    return np.array([_row(sound, layout) for sound in sounds])


def differences(rows: Array, neighbours: Array, layout: RowLayout) -> Array:
    """Return how windows (n, size) differ from the medians of their neighbours (n, k, size), (n, size).

    Tones and rhythms are matched within a slot to each side.
    """
    out = rows - np.median(neighbours, axis=1)
    tones, rhythms, noise = layout.parts["tones"], layout.parts["rhythms"], layout.parts["noise"]
    # A tone is stronger when both its level and its prominence rise: noise that falls beside it is no change of it.
    centres = np.sqrt(layout.tone_slots[1:] * layout.tone_slots[:-1])
    band = np.clip(np.searchsorted([low for low, _ in layout.noise_hz], centres) - 1, 0, len(layout.noise_hz) - 1)
    floor = out[:, noise][:, band]  # (n, slots), dB
    rise, fall = _matched(rows[:, tones], neighbours[:, :, tones])
    out[:, tones] = np.maximum(rise + np.minimum(floor, 0), 0) - np.maximum(fall - np.maximum(floor, 0), 0)
    rise, fall = _matched(rows[:, rhythms], neighbours[:, :, rhythms])
    gone = _widened(rows[:, rhythms], 2) <= LEAST_RHYTHM_DB
    out[:, rhythms] = np.maximum(rise, 0) - np.maximum(fall, 0) * gone  # one that is only masked is not gone
    return np.asarray(out)


def same(one: float, other: float) -> bool:
    """Return whether two frequencies in Hz, or rates in 1/s, are of one tone or rhythm."""
    return abs(one - other) <= SAME * max(one, other) + 1.0


def slot_of(value: float, slots: Array) -> int:
    """Return the slot a frequency or rate falls into, the nearest for one outside."""
    return int(np.clip(np.searchsorted(slots, value, side="right") - 1, 0, len(slots) - 2))


def _matched(own: Array, others: Array) -> tuple[Array, Array]:
    """Return by how much own peaks (n, slots) exceed those around them in the others (n, k, slots), and fall short."""
    around = np.median(_widened(others, 1), axis=1)
    return own - around, around - _widened(own, 2)


def _widened(values: Array, by: int) -> Array:
    """Return each slot's highest value within so many slots."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(by, by)], mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * by + 1, axis=-1).max(axis=-1))


def _slots(first: float, last: float, least_step: float) -> Array:
    edges = [first]
    while edges[-1] < last:
        edges.append(max(edges[-1] + least_step, edges[-1] * _STEP))
    return np.array(edges)


def _row(sound: Acoustics, layout: RowLayout) -> Array:
    tones = np.full(len(layout.tone_slots) - 1, LEAST_DB)
    for tone in sound.tones:
        slot = slot_of(tone.hz, layout.tone_slots)
        tones[slot] = max(tones[slot], tone.prominence_db)
    rhythms = np.full(len(layout.rhythm_slots) - 1, LEAST_RHYTHM_DB)
    for band in sound.impulses:
        for rhythm in band.rhythms:
            slot = slot_of(rhythm.per_s, layout.rhythm_slots)
            rhythms[slot] = max(rhythms[slot], rhythm.prominence_db)
    return np.concatenate(
        [
            [sound.level_dbfs, sound.low_db, np.log2(max(sound.centroid_hz, 1.0))],
            sound.noise_db,
            [sound.variability_db],
            sound.loud_db,
            [band.kurtosis_db for band in sound.impulses],
            [np.log2(1 + band.per_s) for band in sound.impulses],
            [max((swell.depth for swell in band.swells), default=0.0) for band in sound.impulses],
            tones,
            rhythms,
        ]
    )
