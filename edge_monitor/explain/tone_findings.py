"""Tones that are new, stronger, weaker or lost, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.explain.figures import SAME, same, slot_of
from edge_monitor.explain.sentence import change, frequency, listing
from edge_monitor.records import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.explain.comparison import Comparison
    from edge_monitor.explain.tones import Tone

    Band = tuple[float, float]

_HARMONICS = 4
_FAINT = 0.5  # of what stands out by itself


def tones_of(compared: Comparison, least: float, louder: Sequence[tuple[Band, float]]) -> list[Finding]:
    """Return new, stronger, weaker and lost tones; multiples of one frequency are one finding.

    `louder` are bands in Hz that are louder, with their deviation: there a fainter tone counts, for it makes them so.
    """
    risen = []
    for tone in compared.anomaly.tones:
        deviation = compared.tone_deviation(tone)
        around = max((most for (low, high), most in louder if low <= tone.hz <= high), default=0.0)
        if deviation >= least or (deviation >= _FAINT * least and around >= least):
            risen.append((tone, max(deviation, around)))
    fallen: list[tuple[Tone, float]] = []
    for tone in sorted((t for other in compared.neighbours for t in other.tones), key=lambda t: -t.prominence_db):
        deviation = -compared.tone_deviation(tone)
        if deviation >= least and not any(same(tone.hz, other.hz) for other, _ in fallen):
            fallen.append((tone, deviation))
    return [_tone(compared, family) for family in _families(risen)] + [
        _lost(compared, family) for family in _families(fallen)
    ]


def _families(tones: list[tuple[Tone, float]]) -> list[list[tuple[Tone, float]]]:
    """Return tones grouped with their multiples, the strongest of each group first."""
    families: list[list[tuple[Tone, float]]] = []
    for tone, deviation in sorted(tones, key=lambda pair: -pair[1]):
        for family in families:
            low, high = sorted((family[0][0].hz, tone.hz))
            multiple = round(high / low)
            if multiple <= _HARMONICS and abs(high - multiple * low) <= 0.5 * SAME * high:
                family.append((tone, deviation))
                break
        else:
            families.append([(tone, deviation)])
    return families


def _tone(compared: Comparison, family: list[tuple[Tone, float]]) -> Finding:
    tone, deviation = family[0]
    usual, others = _like(compared, tone), _others(family)
    if usual is None:
        text = f"a new tone at {frequency(tone.hz)}, {tone.prominence_db:.0f} dB above the noise around it"
        text += f" (and at {others})" if others else ""
    else:
        text = _changed(compared, tone) + (f" (also {others})" if others else "")
    swing = 0.0 if usual is None else usual.swing_db
    if tone.swing_db >= max(5.0, 2 * swing) and tone.prominence_db >= 6:  # noqa: PLR2004 - noise alone swings by 4 dB
        text += f", coming and going by {tone.swing_db:.0f} dB"
    return _finding(tone, text, tone.hz, None if usual is None else usual.hz, deviation)


def _lost(compared: Comparison, family: list[tuple[Tone, float]]) -> Finding:
    tone, deviation = family[0]
    left, others = next((own for own in compared.anomaly.tones if same(own.hz, tone.hz)), None), _others(family)
    text = f"the tone at {frequency(tone.hz)} is missing" if left is None else _changed(compared, tone)
    text += f" (also {others})" if others else ""
    return _finding(tone, text, None if left is None else left.hz, tone.hz, deviation)


def _others(family: list[tuple[Tone, float]]) -> str:
    """Return the two lowest of the other tones, for a person."""
    others = sorted(tone.hz for tone, _ in family[1:])[:2]
    return listing([frequency(hz) for hz in others]) if others else ""


def _changed(compared: Comparison, tone: Tone) -> str:
    difference = float(compared.values("tones")[slot_of(tone.hz, compared.layout.tone_slots)])
    return f"the tone at {frequency(tone.hz)} is {change(difference, ('stronger', 'weaker'))}"


def _finding(tone: Tone, text: str, value: float | None, normal: float | None, deviation: float) -> Finding:
    return Finding("tone", text, value, normal, "Hz", deviation, (0.98 * tone.hz, 1.02 * tone.hz))


def _like(compared: Comparison, tone: Tone) -> Tone | None:
    """Return the same tone of a neighbour, when most of them have it."""
    found = [next((t for t in other.tones if same(t.hz, tone.hz)), None) for other in compared.neighbours]
    known = [t for t in found if t is not None]
    return known[0] if 2 * len(known) > len(found) else None
