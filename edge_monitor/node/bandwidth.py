"""How high a machine's normals reach: those of another sample rate are another microphone's, and are not added.

Among normals that reach 8 kHz a few that end at 4 kHz would be so odd that the threshold is raised for them, and hides
every fault: 3 among 40 make it eight times as high. So what is learnt has one bandwidth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_monitor.capture.quality import level_dbfs
from edge_monitor.capture.sensor import reach
from edge_monitor.errors import NormalsError
from edge_monitor.explain.acoustics import steady_noise_db
from edge_monitor.explain.spectrum import band_edges
from edge_monitor.memory.normal import Descriptors
from edge_monitor.memory.normals import Normals
from edge_monitor.pipeline.normal_acoustics import acoustics_of, evenly_chosen, measured_acoustics

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.memory.normal import NewRecording
    from edge_monitor.records import Samples

_LOOKED_AT = 20  # normals, evenly chosen: a millisecond each


def require_bandwidth(connection: sqlite3.Connection, machine: str, recordings: Iterable[NewRecording]) -> None:
    """Check that recordings which are not enrolled yet reach as high as the normals in use, as far as that is known.

    Raises NormalsError for the first that does not.
    """
    learnt_hz = learnt_highest_hz(connection, machine)
    if learnt_hz is None:
        return
    normals = Normals(connection, machine)
    for new in recordings:
        told = another_rate(recording_highest_hz(new), learnt_hz)
        if told is not None and normals.known_recording(new.sha256) is None:
            raise not_added(machine, new.name, told)


def not_added(machine: str, name: str, told: str) -> NormalsError:
    """Return the error for a recording that reaches otherwise than what is learnt."""
    return NormalsError(
        f"{name} {told}, not added",
        where=machine,
        hint="enrol at the microphone's rate; `edge-monitor enroll --anew` leaves what was enrolled behind",
    )


def another_rate(highest_hz: float | None, learnt_hz: float | None) -> str | None:
    """Return in words that sound reaches otherwise than what is learnt; None: alike, or not known."""
    if highest_hz is None or learnt_hz is None or math.isclose(highest_hz, learnt_hz, rel_tol=0.01):
        return None
    return f"reaches {highest_hz / 1000:.1f} kHz, what is enrolled {learnt_hz / 1000:.1f} kHz: another sample rate"


def learnt_highest_hz(connection: sqlite3.Connection, machine: str) -> float | None:
    """Return up to which frequency a machine's normals in use have sound, Hz; None: it is not known."""
    normals = Normals(connection, machine)
    return _highest_hz(measured_acoustics(normals, evenly_chosen(normals.ids(), _LOOKED_AT)).values())


def recording_highest_hz(new: NewRecording) -> float | None:
    """Return up to which frequency a recording's windows have sound, Hz; None: it is not known."""
    found = (acoustics_of(each.descriptors or Descriptors()) for each in new.normals)
    return _highest_hz(each for each in found if each is not None)


def highest_hz(samples: Samples, rate_hz: int) -> float | None:
    """Return up to which frequency (frames,) have sound, Hz; None: they are too quiet to say."""
    return _edge([[level_dbfs(samples), *steady_noise_db(samples, rate_hz)]], rate_hz)


def _highest_hz(measured: Iterable[Acoustics]) -> float | None:
    found = list(measured)
    if not found:
        return None
    rate_hz = found[-1].rate_hz
    return _edge([(each.level_dbfs, *each.noise_db) for each in found if each.rate_hz == rate_hz], rate_hz)


def _edge(entries: Sequence[Sequence[float]], rate_hz: int) -> float | None:
    found = reach(entries)
    return None if found is None else float(band_edges(rate_hz)[found - 1])
