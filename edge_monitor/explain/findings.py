"""Findings: differences that belong together become one, what another one explains is not named again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.figures import slot_of
from edge_monitor.explain.sentence import band, change, frequency, listing, rate
from edge_monitor.records import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.explain.comparison import Comparison
    from edge_monitor.explain.impulses import Impulsiveness, Rhythm
    from edge_monitor.explain.tones import Tone

    Band = tuple[float, float]

_JOINS = 0.5  # a band joins its standing-out neighbour from this part of its deviation on
_SAME = 0.03  # relative difference of frequencies or rates that are the same
_HARMONICS = 4
_REGULAR_KURTOSIS_DB = 0.1  # impulses so fast that they run together still raise the kurtosis this much
_LISTED = 8


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring bands that change together."""

    hz: Band
    difference_db: float
    deviation: float
    own_db: float
    normal_db: float


def find(compared: Comparison, least: float) -> tuple[Finding, ...]:
    """Return what deviates by `least` or more, largest first; rhythmic impulses before all else."""
    impulses = _impulses(compared, least)
    tones = _tones(compared, least)
    runs = _runs(compared, "noise", least)
    bursts = _runs(compared, "loud", least)
    rises = [finding.band_hz for finding in impulses if finding.band_hz and finding.value is not None]
    levels = [run for run in runs if not (run.difference_db > 0 and _inside(run.hz, rises))]
    bursts = [
        run
        for run in bursts
        if not (run.difference_db > 0 and _inside(run.hz, rises))
        and not any(_overlap(run.hz, other.hz) and run.difference_db * other.difference_db > 0 for other in runs)
        and not any(_covers(run.hz, tone.band_hz) for tone in tones)
    ]
    found = [
        *impulses,
        *tones,
        *(_level(run) for run in levels),
        *(_burst(compared, run) for run in bursts),
        *_swells(compared, least, impulses),
    ]
    found = found or _overall(compared, least)
    return tuple(sorted(found, key=lambda f: (f.name != "rhythmic-impulses", -f.deviation))[:_LISTED])


# -- impulses ----------------------------------------------------------------------------------------------------------


def _impulses(compared: Comparison, least: float) -> list[Finding]:
    """Return the impulses that have appeared or gone, as one finding."""
    kurtosis, count = compared.deviations("kurtosis"), compared.deviations("count")
    both = np.where(np.abs(kurtosis) >= np.abs(count), kurtosis, count)
    rhythm, where = _best_rhythm(compared, least)
    place = int(np.argmax(both)) if len(both) else 0
    if rhythm is not None and where is not None and compared.values("kurtosis")[where] >= _REGULAR_KURTOSIS_DB:
        own = compared.anomaly.impulses[where]
        deviation = max(compared.rhythm_deviation(rhythm), float(both[where]))
        hz, extra = _band_of_impulses(compared, where)
        normal = _normal_rhythm(compared, rhythm)
        before = "normally none" if normal is None else "normally weaker"
        text = f"impulses at {rate(rhythm.per_s)} in {band(*hz)}, {before}{extra}"
        return [Finding("rhythmic-impulses", text, rhythm.per_s, normal, "1/s", deviation, hz)]
    if not len(both) or np.max(np.abs(both)) < least:
        return []
    if both[place] < least:
        return _fewer(compared, int(np.argmin(both)), float(-both.min()))
    own = compared.anomaly.impulses[place]
    hz, extra = _band_of_impulses(compared, place)
    usual = float(np.median([other.impulses[place].per_s for other in compared.neighbours]))
    text = f"irregular impulses in {band(*hz)}, {_how_many(own, usual)}{extra}"
    times = tuple((max(0.0, at - 0.05), at + 0.05) for at in own.moments_s)
    return [Finding("irregular-impulses", text, own.per_s, usual, "1/s", float(both[place]), hz, times)]


def _how_many(own: Impulsiveness, usual: float) -> str:
    before = "normally none" if usual < 0.15 else f"normally {rate(usual)}"  # noqa: PLR2004 - one or less in a window
    if own.per_s <= usual:
        return f"stronger than normal (crest {own.crest_db:.0f} dB)"
    return f"about {rate(own.per_s)}, {before}"


def _fewer(compared: Comparison, place: int, deviation: float) -> list[Finding]:
    own = compared.anomaly.impulses[place]
    usual = float(np.median([other.impulses[place].per_s for other in compared.neighbours]))
    hz = (own.low_hz, own.high_hz)
    text = f"impulses in {band(*hz)} are fewer or weaker: {rate(own.per_s)}, normally {rate(usual)}"
    return [Finding("fewer-impulses", text, None, usual, "1/s", deviation, hz)]


def _best_rhythm(compared: Comparison, least: float) -> tuple[Rhythm | None, int | None]:
    """Return the new rhythm that is the fundamental of the others, and the band where it is clearest."""
    new = [
        (rhythm, place)
        for place, impulses in enumerate(compared.anomaly.impulses)
        for rhythm in impulses.rhythms
        if compared.rhythm_deviation(rhythm) >= 0.5 * least
    ]
    if not new or max(compared.rhythm_deviation(rhythm) for rhythm, _ in new) < least:
        return None, None

    def strength(candidate: Rhythm, place: int) -> float:
        """Add up the lines at the candidate's multiples in its band: impulses have several, sidebands do not."""
        lines = [rhythm for rhythm, where in new if where == place]
        total = 0.0
        for multiple in range(1, _HARMONICS + 1):
            at = multiple * candidate.per_s
            total += max((line.depth for line in lines if abs(line.per_s - at) <= 0.01 * at + 0.5), default=0.0)
        return total

    return max(new, key=lambda found: strength(*found))


def _normal_rhythm(compared: Comparison, rhythm: Rhythm) -> float | None:
    """Return the rate of the same rhythm in most of the neighbours, or None."""
    rates = [
        next((r.per_s for b in other.impulses for r in b.rhythms if _same(r.per_s, rhythm.per_s)), None)
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
    top = max(near, key=lambda i: levels[i])
    first = last = top
    while first - 1 in near and levels[first - 1] >= _JOINS * levels[top]:
        first -= 1
    while last + 1 in near and levels[last + 1] >= _JOINS * levels[top]:
        last += 1
    hz = (compared.layout.loud_hz[first][0], compared.layout.loud_hz[last][1])
    return hz, f"; the loud moments there are {change(float(levels[top]))}"


def _swells(compared: Comparison, least: float, impulses: Sequence[Finding]) -> list[Finding]:
    """Return a rhythm without impulses: the sound swells and fades."""
    if any(finding.name == "rhythmic-impulses" for finding in impulses):
        return []
    rhythm, place = _best_rhythm(compared, least)
    if rhythm is None or place is None:
        return []
    where = compared.anomaly.impulses[place]
    hz = (where.low_hz, where.high_hz)
    depth = min(100.0, 100 * rhythm.depth)
    text = f"the sound in {band(*hz)} swells and fades {rate(rhythm.per_s)} by {depth:.0f} %"
    normal = _normal_rhythm(compared, rhythm)
    return [Finding("modulation", text, rhythm.per_s, normal, "1/s", compared.rhythm_deviation(rhythm), hz)]


# -- tones -------------------------------------------------------------------------------------------------------------


def _tones(compared: Comparison, least: float) -> list[Finding]:
    """Return new, stronger, weaker and lost tones; multiples of one frequency are one finding."""
    risen = [(tone, compared.tone_deviation(tone)) for tone in compared.anomaly.tones]
    risen = [pair for pair in risen if pair[1] >= least]
    fallen: list[tuple[Tone, float]] = []
    for tone in sorted((t for other in compared.neighbours for t in other.tones), key=lambda t: -t.prominence_db):
        deviation = -compared.tone_deviation(tone)
        if deviation >= least and not any(_same(tone.hz, other.hz) for other, _ in fallen):
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
            if multiple <= _HARMONICS and abs(high - multiple * low) <= 0.5 * _SAME * high:
                family.append((tone, deviation))
                break
        else:
            families.append([(tone, deviation)])
    return families


def _tone(compared: Comparison, family: list[tuple[Tone, float]]) -> Finding:
    tone, deviation = family[0]
    difference = float(compared.values("tones")[slot_of(tone.hz, compared.layout.tone_slots)])
    usual = _like(compared, tone)
    others = [frequency(other.hz) for other, _ in sorted(family[1:], key=lambda pair: pair[0].hz)[:2]]
    if usual is None:
        text = f"a new tone at {frequency(tone.hz)}, {tone.prominence_db:.0f} dB above the noise around it"
        text += f" (and at {listing(others)})" if others else ""
        normal = None
    else:
        text = f"the tone at {frequency(tone.hz)} is {change(difference, ('stronger', 'weaker'))}"
        text += f" (also {listing(others)})" if others else ""
        normal = usual.hz
    swing = float(np.median([u.swing_db for u in (usual,) if u])) if usual else 0.0
    if tone.swing_db >= max(5.0, 2 * swing) and tone.prominence_db >= 6:  # noqa: PLR2004 - noise alone swings by 4 dB
        text += f", coming and going by {tone.swing_db:.0f} dB"
    return Finding("tone", text, tone.hz, normal, "Hz", deviation, (0.98 * tone.hz, 1.02 * tone.hz))


def _lost(compared: Comparison, family: list[tuple[Tone, float]]) -> Finding:
    tone, deviation = family[0]
    left = next((own for own in compared.anomaly.tones if _same(own.hz, tone.hz)), None)
    difference = float(compared.values("tones")[slot_of(tone.hz, compared.layout.tone_slots)])
    others = [frequency(other.hz) for other, _ in sorted(family[1:], key=lambda pair: pair[0].hz)[:2]]
    also = f" (also {listing(others)})" if others else ""
    if left is None:
        text = f"the tone at {frequency(tone.hz)} is missing{also}"
    else:
        text = f"the tone at {frequency(tone.hz)} is {change(difference, ('stronger', 'weaker'))}{also}"
    value = None if left is None else left.hz
    return Finding("tone", text, value, tone.hz, "Hz", deviation, (0.98 * tone.hz, 1.02 * tone.hz))


def _like(compared: Comparison, tone: Tone) -> Tone | None:
    """Return the same tone of a neighbour, when most of them have it."""
    same = [next((t for t in other.tones if _same(t.hz, tone.hz)), None) for other in compared.neighbours]
    known = [t for t in same if t is not None]
    return known[0] if 2 * len(known) > len(same) else None


# -- levels ------------------------------------------------------------------------------------------------------------


def _runs(compared: Comparison, part: str, least: float) -> list[_Run]:
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
            _Run(
                (bands[first][0], bands[last][1]),
                float(np.median(difference[first : last + 1])),
                float(abs(deviation[top])),
                _sum_db(compared.own[inside]),
                _sum_db(compared.normal[inside]),
            )
        )
    return runs


def _sum_db(levels_db: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(10 ** (levels_db / 10))))


def _level(run: _Run) -> Finding:
    text = f"the noise in {band(*run.hz)} is {change(run.difference_db, ('louder', 'weaker'))}"
    return Finding("band-level", text, run.own_db, run.normal_db, "dB", run.deviation, run.hz)


def _burst(compared: Comparison, run: _Run) -> Finding:
    text = f"the loud moments in {band(*run.hz)} are {change(run.difference_db, ('louder', 'weaker'))}"
    times: tuple[tuple[float, float], ...] = ()
    if run.difference_db > 0:
        near = [i for i in compared.anomaly.impulses if _overlap((i.low_hz, i.high_hz), run.hz)]
        moments = max((i.moments_s for i in near), key=len, default=())
        times = tuple((max(0.0, at - 0.05), at + 0.05) for at in moments)
    return Finding("loud-moments", text, run.own_db, run.normal_db, "dB", run.deviation, run.hz, times)


def _overall(compared: Comparison, least: float) -> list[Finding]:
    """Return what single figures of the whole sound say, for when nothing more particular is found."""
    words = {
        "level": ("the sound as a whole is {}", ("louder", "weaker"), "dB"),
        "low": ("the sound below 160 Hz is {}", ("louder", "weaker"), "dB"),
        "variability": ("the level varies {}", ("more", "less"), "dB"),
        "centroid": ("the sound is {}", ("brighter", "duller"), "Hz"),
    }
    found = []
    for part, (words_, signs, unit) in words.items():
        deviation = float(compared.deviations(part)[0])
        if abs(deviation) < least:
            continue
        own, normal = float(compared.own[compared.layout.parts[part]][0]), 0.0
        normal = float(compared.normal[compared.layout.parts[part]][0])
        if part == "centroid":
            own, normal = 2**own, 2**normal
            figures = f"{signs[own < normal]}: its centre is at {frequency(own)}, normally {frequency(normal)}"
        else:
            figures = change(own - normal, signs)
        found.append(Finding(part, words_.format(figures), own, normal, unit, abs(deviation)))
    return found


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * max(one, other) + 1.0


def _overlap(one: Band, other: Band) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _covers(outer: Band, inner: Band | None) -> bool:
    return inner is not None and _overlap(outer, inner)


def _inside(hz: Band, bands: Sequence[Band]) -> bool:
    """Return whether at least half of a band (in octaves) lies in one of these."""
    for low, high in bands:
        shared = np.log2(min(hz[1], high) / max(hz[0], low))
        if shared >= 0.5 * np.log2(hz[1] / hz[0]):
            return True
    return False


def rounded(finding: Finding) -> Finding:
    """Return the finding with figures of a sensible length."""

    def short(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.4g}")

    hz = finding.band_hz and (float(f"{finding.band_hz[0]:.4g}"), float(f"{finding.band_hz[1]:.4g}"))
    times = tuple((round(start, 2), round(end, 2)) for start, end in finding.times_s)
    return replace(
        finding,
        value=short(finding.value),
        normal=short(finding.normal),
        deviation=round(finding.deviation, 2),
        band_hz=hz or None,
        times_s=times,
    )
