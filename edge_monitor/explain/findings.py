"""Findings: differences that belong together become one, what another one explains is not named again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_monitor.explain.acoustics import LOW_HZ
from edge_monitor.explain.band_findings import burst, level, overlap, runs_of, skirts_of
from edge_monitor.explain.impulse_findings import impulses_of, swells_of
from edge_monitor.explain.sentence import change, frequency
from edge_monitor.explain.tone_findings import tones_of
from edge_monitor.records import Finding

if TYPE_CHECKING:
    from edge_monitor.explain.comparison import Comparison

_LISTED = 8


def find(compared: Comparison, least: float) -> list[Finding]:
    """Return what deviates by `least` or more, largest first."""
    impulses = impulses_of(compared, least)
    runs, bursts = runs_of(compared, "noise", least), runs_of(compared, "loud", least)
    louder = [(run.hz, run.deviation) for run in bursts if run.difference_db > 0]
    # Between low tones there is little room for noise: their bands are louder with them.
    louder += [(run.hz, run.deviation) for run in runs if run.difference_db > 0 and run.hz[1] <= LOW_HZ[1]]
    tones = tones_of(compared, least, [*louder, (LOW_HZ, float(compared.deviations("low")[0]))])
    pitches = [finding.band_hz for finding in tones if finding.band_hz]
    cracks = [f.band_hz for f in impulses if f.band_hz and f.value is not None]
    swells = swells_of(compared, least, impulses)
    swollen = [f.band_hz for f in swells if f.band_hz]
    levels = [
        run
        for run in runs
        if not skirts_of(run, cracks) and not (run.hz[1] <= LOW_HZ[1] and any(overlap(run.hz, hz) for hz in pitches))
    ]
    bursts = [
        run
        for run in bursts
        if not skirts_of(run, cracks)
        and not any(overlap(run.hz, other.hz) and run.difference_db * other.difference_db > 0 for other in runs)
        and not any(overlap(run.hz, hz) for hz in pitches)
        and not (run.difference_db > 0 and any(overlap(run.hz, hz) for hz in swollen))
    ]
    found = [
        *impulses,
        *tones,
        *(level(run) for run in levels),
        *(burst(compared, run) for run in bursts),
        *swells,
    ]
    found = found or _overall(compared, least)
    return sorted(found, key=lambda finding: -finding.deviation)[:_LISTED]


def _overall(compared: Comparison, least: float) -> list[Finding]:
    """Return what single figures of the whole sound say, for when nothing more particular is found."""
    words = {
        "level": ("the sound as a whole is {}", ("louder", "weaker"), "dB"),
        "low": ("the sound below 160 Hz is {}", ("louder", "weaker"), "dB"),
        "variability": ("the level varies {}", ("more", "less"), "dB"),
        "centroid": ("the sound is {}", ("brighter", "duller"), "Hz"),
    }
    found = []
    for part, (clause, signs, unit) in words.items():
        deviation, difference = float(compared.deviations(part)[0]), float(compared.values(part)[0])
        if abs(deviation) < least:
            continue
        own = float(compared.own[compared.layout.parts[part]][0])
        normal = own - difference
        if part == "centroid":  # in octaves
            own, normal = 2**own, 2**normal
            figures = f"{signs[own < normal]}: its centre is at {frequency(own)}, normally {frequency(normal)}"
        else:
            figures = change(difference, signs)
        band_hz = LOW_HZ if part == "low" else None
        found.append(Finding(part, clause.format(figures), own, normal, unit, abs(deviation), band_hz))
    return found


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
