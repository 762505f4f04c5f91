"""The measured difference between an anomalous window and its nearest normals, in figures and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import ExplainError
from edge_monitor.explain.comparison import Spread, comparison, spread_of
from edge_monitor.explain.findings import find, rounded
from edge_monitor.explain.impulse_findings import impulse_deviations
from edge_monitor.explain.repetition_findings import with_repetition
from edge_monitor.explain.sentence import sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.explain.comparison import Comparison
    from edge_monitor.records import Finding, Repetition

__all__ = ["REFERENCE_TEXTS", "Difference", "Spread", "compare", "spread_of"]

_STANDS_OUT = 1.0
_FAINT = 0.05  # below, there is no largest difference worth a word


# Paper, IV-A, in its spelling and order; its authors asked an LLM for what machine sounds have in general.
REFERENCE_TEXTS = (
    "Vibration",
    "High-frequency Squealing or Screeching",
    "Popping or Knocking Sounds",
    "Rhythmic Clicking or Tapping",
    "Grinding Sounds",
    "Irregular Patterns",
    "Low-frequency Humming",
    "Unexpected Silence",
)
_SQUEAL_FROM_HZ = 1000.0
_HUM_TO_HZ = 300.0
_GRINDING_HZ = (1000.0, 10_000.0)


@dataclass(frozen=True, slots=True)
class Difference:
    """What stands out of a window against its nearest normals."""

    findings: tuple[Finding, ...]  # largest first; empty: nothing stands out
    sentence: str  # one or two plain sentences with figures and units
    counterparts: dict[str, float | None]  # of each reference text: signed, 0 = as normal, 1 = just stands out


def compare(
    anomaly: Acoustics,
    neighbours: Sequence[Acoustics],
    normals: Sequence[Acoustics] | Spread,
    repetition: Repetition | None = None,
) -> Difference:
    """Return how a window differs from the median of its nearest normals, over the spread of all normals.

    `normals` are all of the machine's; their `spread_of` saves the work from one alarm to the next. `repetition` is
    what made the largest part of the score, if that is what did; it is told first.
    Raises ExplainError for fewer than five normals, no neighbours, or figures measured at different rates.
    """
    if not neighbours:
        raise ExplainError("no nearest normals to compare with")
    spread = normals if isinstance(normals, Spread) else spread_of(normals)
    compared = comparison(anomaly, neighbours, spread)
    found = find(compared, _STANDS_OUT)
    if repetition is not None:
        found = with_repetition(found, anomaly, repetition)
    findings = tuple(rounded(finding) for finding in found)
    largest = None
    if not findings:
        most = float(abs(compared.deviation).max())
        fainter = (find(compared, most * part) for part in (1.0, 0.7, 0.4) if most > _FAINT)
        largest = next((found[0] for found in fainter if found), None)
    return Difference(findings, sentence(findings, largest), counterparts(compared))


def counterparts(compared: Comparison) -> dict[str, float | None]:
    """Return each text's signed deviation: 0 = as normal, +1 = just stands out, negative = less than normal."""
    layout = compared.layout
    centres = np.sqrt(layout.tone_slots[1:] * layout.tone_slots[:-1])
    tones = compared.deviations("tones")
    rhythm = _strongest(compared.deviations("rhythms"))
    both = impulse_deviations(compared)
    impulses = _strongest(both)
    if impulses is not None and impulses >= 1 and compared.anomaly.impulses[int(np.argmax(both))].regular:
        rhythm = max(rhythm or 0.0, impulses)
    rough = [low >= _GRINDING_HZ[0] and high <= _GRINDING_HZ[1] for low, high in layout.noise_hz]
    noise = compared.deviations("noise")[rough]
    figures = (
        _strongest(compared.deviations("low")),
        _strongest(tones[centres >= _SQUEAL_FROM_HZ]),
        None if impulses is None or rhythm is None else impulses if abs(rhythm) < 1 else 0.0,
        rhythm,
        float(np.mean(noise)) if len(noise) else None,
        _strongest(compared.deviations("variability")),
        _strongest(tones[centres < _HUM_TO_HZ]),
        -float(compared.deviations("level")[0]),
    )
    return {
        text: None if figure is None else round(figure, 2) + 0.0
        for text, figure in zip(REFERENCE_TEXTS, figures, strict=True)
    }


def _strongest(deviations: np.ndarray) -> float | None:
    """Return the one furthest from 0, or None when there are none."""
    return float(deviations[np.argmax(np.abs(deviations))]) if len(deviations) else None
