"""The paper's eight reference texts, each with its measured counterpart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.impulse_findings import impulse_deviations

if TYPE_CHECKING:
    from edge_monitor.explain.comparison import Comparison

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
