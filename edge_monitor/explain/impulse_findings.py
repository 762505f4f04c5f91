"""Impulses and rhythms that have appeared or gone, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.band_findings import AROUND_S, around, overlap
from edge_monitor.explain.figures import same
from edge_monitor.explain.sentence import band, change, rate
from edge_monitor.records import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.explain.comparison import Comparison
    from edge_monitor.explain.impulses import Impulsiveness, Rhythm

    Band = tuple[float, float]

_JOINS = 0.5  # a band belongs to the impulses from this part of their loudest band's rise on
_HARMONICS = 4
_LINE_HZ = 0.5  # the width of an envelope spectrum's line
_FEW_PER_S = 0.15  # one or none in a window


def impulses_of(compared: Comparison, least: float) -> list[Finding]:
    """Return the impulses that have appeared or gone, as one finding."""
    both = impulse_deviations(compared)
    if not len(both):
        return []
    place = int(np.argmax(both))
    if both[place] >= least and compared.anomaly.impulses[place].regular:
        return [_counted(compared, place, float(both[place]))]
    found = _new_rhythm(compared, least)
    if found and compared.anomaly.impulses[found[1]].struck(found[0]) and not _uncovered(compared)[found[1]]:
        rhythm, where, deviation = found
        hz, extra = _band_of_impulses(compared, where)
        normal = _normal_rhythm(compared, rhythm)
        before = "normally none" if normal is None else "normally weaker"
        text = f"impulses at {rate(rhythm.per_s)} in {band(*hz)}, {before}{extra}"
        deviation = max(deviation, float(both[where]))
        return [Finding("rhythmic-impulses", text, rhythm.per_s, normal, "1/s", deviation, hz)]
    if np.max(np.abs(both)) < least:
        return []
    if both[place] < least:
        return _fewer(compared, int(np.argmin(both)), float(-both.min()))
    return [_counted(compared, place, float(both[place]))]


def impulse_deviations(compared: Comparison) -> NDArray[np.float64]:
    """Return how far the impulses of each impulse band stand out, (bands,), signed.

    What only looks like new impulses is 0: what a lost noise uncovers, and the loudest moments of a sound that swells.
    """
    kurtosis, count = compared.deviations("kurtosis"), compared.deviations("count")
    both = np.where(np.abs(kurtosis) >= np.abs(count), kurtosis, count)
    swollen = np.array([impulses.swollen for impulses in compared.anomaly.impulses], dtype=bool)
    both[(_uncovered(compared) | swollen) & (both > 0)] = 0
    return both


def _counted(compared: Comparison, place: int, deviation: float) -> Finding:
    """Return impulses without a line in the spectrum, by their number and intervals."""
    own = compared.anomaly.impulses[place]
    hz, extra = _band_of_impulses(compared, place)
    usual = _usual_count(compared, place)
    times = tuple((max(0.0, at - AROUND_S), at + AROUND_S) for at in own.moments_s)
    if own.regular:
        before = "stronger than normal" if own.per_s <= usual else _normally(usual)
        text = f"regular impulses at {rate(own.usual_per_s)} in {band(*hz)}, {before}{extra}"
        return Finding("rhythmic-impulses", text, own.usual_per_s, usual, "1/s", deviation, hz, times)
    name = "irregular-impulses" if own.irregular else "impulses"
    text = f"{name.replace('-', ' ')} in {band(*hz)}, {_how_many(own, usual)}{extra}"
    return Finding(name, text, own.per_s, usual, "1/s", deviation, hz, times)


def _uncovered(compared: Comparison) -> NDArray[np.bool_]:
    """Return the bands (impulse bands,) whose impulses are no louder than normal: the noise over them has gone."""
    loud = compared.values("loud")
    return np.array(
        [
            max((loud[i] for i, hz in enumerate(compared.layout.loud_hz) if overlap(hz, band_hz)), default=0.0) <= 0
            for band_hz in compared.layout.impulses_hz
        ],
        dtype=bool,
    )


def _usual_count(compared: Comparison, place: int) -> float:
    return float(np.median([other.impulses[place].per_s for other in compared.neighbours]))


def _normally(usual: float) -> str:
    return "normally none" if usual < _FEW_PER_S else f"normally {rate(usual)}"


def _how_many(own: Impulsiveness, usual: float) -> str:
    if own.per_s <= usual:
        return f"stronger than normal (crest {own.crest_db:.0f} dB)"
    return f"about {rate(own.per_s)}, {_normally(usual)}"


def _fewer(compared: Comparison, place: int, deviation: float) -> list[Finding]:
    own = compared.anomaly.impulses[place]
    usual = _usual_count(compared, place)
    if usual < _FEW_PER_S:
        return []
    hz = (own.low_hz, own.high_hz)
    text = f"impulses in {band(*hz)} are fewer or weaker: {rate(own.per_s)}, normally {rate(usual)}"
    return [Finding("fewer-impulses", text, None, usual, "1/s", deviation, hz)]


def _new_rhythm(compared: Comparison, least: float) -> tuple[Rhythm, int, float] | None:
    """Return the new rhythm that is the fundamental of the others, the band where it is clearest, their deviation."""
    new = [
        (rhythm, place)
        for place, impulses in enumerate(compared.anomaly.impulses)
        for rhythm in impulses.rhythms
        if compared.rhythm_deviation(rhythm) >= 0.5 * least
    ]
    deviation = max((compared.rhythm_deviation(rhythm) for rhythm, _ in new), default=0.0)
    if deviation < least:
        return None

    def strength(candidate: Rhythm, place: int) -> float:
        """Add up the lines at the candidate's multiples in its band: impulses have several, sidebands do not.

        Of impulses, no multiple is deeper than the fundamental: what a line is deeper has another cause.
        """
        lines = [rhythm for rhythm, where in new if where == place]
        total = 0.0
        for multiple in range(1, _HARMONICS + 1):
            at = multiple * candidate.per_s
            there = max((line.depth for line in lines if abs(line.per_s - at) <= 0.01 * at + _LINE_HZ), default=0.0)
            total += min(there, candidate.depth)
        return total

    return *max(new, key=lambda found: strength(*found)), deviation


def _normal_rhythm(compared: Comparison, rhythm: Rhythm) -> float | None:
    """Return the rate of the same rhythm in most of the neighbours, or None."""
    rates = [
        next((r.per_s for b in other.impulses for r in b.rhythms if same(r.per_s, rhythm.per_s)), None)
        for other in compared.neighbours
    ]
    known = [rate for rate in rates if rate is not None]
    return float(np.median(known)) if 2 * len(known) > len(rates) else None


def _band_of_impulses(compared: Comparison, place: int) -> tuple[Band, str]:
    """Return where the impulses are, and how much the level has risen there as a clause.

    The third octaves whose level has risen around the analysis band say it more closely than the band itself.
    """
    impulses = compared.anomaly.impulses[place]
    low, high = impulses.low_hz / 2**0.5, impulses.high_hz * 2**0.5
    levels = compared.values("loud")
    near = [i for i, (a, b) in enumerate(compared.layout.loud_hz) if a >= 0.9 * low and b <= 1.1 * high]
    if not near or max(levels[near]) < 1:
        return (impulses.low_hz, impulses.high_hz), ""
    here = np.full(len(levels), -np.inf)
    here[near] = levels[near]
    top = int(np.argmax(here))
    hz = _joined(compared.layout.loud_hz, here, top)
    return hz, f"; the loud moments there are {change(float(levels[top]))}"


def swells_of(compared: Comparison, least: float, impulses: Sequence[Finding]) -> list[Finding]:
    """Return a rhythm without impulses: the sound swells and fades, slowly or fast."""
    if any(finding.name == "rhythmic-impulses" for finding in impulses):
        return []
    slow = compared.deviations("swells")
    place = int(np.argmax(slow)) if len(slow) else 0
    swells = compared.anomaly.impulses[place].swells if len(slow) else ()
    if swells and slow[place] >= least and not any(finding.value is not None for finding in impulses):
        normal = _usual_swell(compared, place)
        return [_swell(swells[0], _joined(compared.layout.impulses_hz, slow, place), normal, float(slow[place]))]
    found = _new_rhythm(compared, least)
    if found is None or _uncovered(compared)[found[1]]:
        return []
    rhythm, place, deviation = found
    depths = np.array([_depth(each, rhythm) for each in compared.anomaly.impulses])
    hz = _joined(compared.layout.impulses_hz, depths, place)
    return [_swell(rhythm, hz, _normal_rhythm(compared, rhythm), deviation)]


def _depth(impulses: Impulsiveness, rhythm: Rhythm) -> float:
    """Return how deep the same rhythm is in a band."""
    return max((each.depth for each in impulses.rhythms if abs(each.per_s - rhythm.per_s) <= _LINE_HZ), default=0.0)


def _swell(rhythm: Rhythm, hz: Band, normal: float | None, deviation: float) -> Finding:
    depth = min(100.0, 100 * rhythm.depth)
    text = f"the sound in {band(*hz)} swells and fades at {rate(rhythm.per_s)} by {depth:.0f} %"
    return Finding("modulation", text, rhythm.per_s, normal, "1/s", deviation, hz)


def _joined(bands: Sequence[Band], sizes: NDArray[np.float64], place: int) -> Band:
    """Return this band and those around it in which something is at least half as large, as one."""
    first, last = around(sizes >= _JOINS * sizes[place], place)
    return bands[first][0], bands[last][1]


def _usual_swell(compared: Comparison, place: int) -> float | None:
    """Return the rate at which most neighbours swell in a band, or None."""
    rates = [swell.per_s for other in compared.neighbours for swell in other.impulses[place].swells]
    return float(np.median(rates)) if 2 * len(rates) > len(compared.neighbours) else None
