"""What repeats and made the largest part of the score, among the findings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_monitor.explain.band_findings import overlap
from edge_monitor.explain.sentence import band, rate
from edge_monitor.records import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.records import Repetition

_HARMONICS = 4
_LARGEST = "the largest part of the score"


def with_repetition(findings: Sequence[Finding], anomaly: Acoustics, repetition: Repetition) -> list[Finding]:
    """Return the findings, first the one that tells of the repetition and says so; one is added where none does.

    Its rate is that of the line in the envelope's spectrum, as it was measured of the sound; where no line stands out
    there, between which rates it lies.
    """
    low, high = repetition.per_s

    def inside(per_s: float) -> bool:
        return any(low <= multiple * per_s < high for multiple in range(1, _HARMONICS + 1))

    for place, found in enumerate(findings):
        known = found.unit == "1/s" and found.value is not None and inside(found.value)
        if known and found.band_hz is not None and overlap(found.band_hz, repetition.band_hz):
            told = replace(found, text=f"{_LARGEST}: {found.text}")
            return [told, *findings[:place], *findings[place + 1 :]]
    rhythms = [
        rhythm
        for impulses in anomaly.impulses
        if overlap((impulses.low_hz, impulses.high_hz), repetition.band_hz)
        for rhythm in impulses.rhythms
        if low <= rhythm.per_s < high
    ]
    per_s = max(rhythms, key=lambda rhythm: rhythm.prominence_db).per_s if rhythms else None
    often = f"{low:g} to {high:g} per second" if per_s is None else rate(per_s)
    text = f"{_LARGEST}: the sound in {band(*repetition.band_hz)} repeats at {often}"
    added = Finding("repetition", text, per_s, None, "1/s", repetition.deviation, repetition.band_hz)
    return [added, *findings]
