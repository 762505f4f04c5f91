"""How high a machine's normals reach: those of another sample rate are another microphone's, and are not added.

Among normals that reach 8 kHz a few that end at 4 kHz would be so odd that the threshold is raised for them, and hides
every fault: 3 among 40 make it eight times as high. So what is learnt has one bandwidth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.capture.sensor import reach
from edge_monitor.errors import ExplainError, NormalsError
from edge_monitor.explain.acoustics import Acoustics
from edge_monitor.explain.spectrum import band_edges
from edge_monitor.memory.normals import Normals
from edge_monitor.pipeline.normal_acoustics import measured_acoustics

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from edge_monitor.memory.normal import NewRecording

_LOOKED_AT = 20  # normals, evenly chosen: a millisecond each


def require_bandwidth(connection: sqlite3.Connection, machine: str, recordings: Iterable[NewRecording]) -> None:
    """Check that recordings which are not enrolled yet reach as high as the normals in use, as far as that is known.

    Raises NormalsError for the first that does not.
    """
    normals = Normals(connection, machine)
    ids = normals.ids()
    known = list(measured_acoustics(normals, ids[:: -(-len(ids) // _LOOKED_AT) or 1]).values())
    learnt = _reach(known)
    if learnt is None:
        return
    enrolled = {each.sha256 for each in normals.recordings()}
    for new in recordings:
        heard = None if new.sha256 in enrolled else _reach(_measured(new))
        if heard is not None and heard != learnt:
            before, now = (band_edges(known[0].rate_hz)[each - 1] / 1000 for each in (learnt, heard))
            raise NormalsError(
                f"{new.name} reaches {now:.1f} kHz, what is enrolled {before:.1f} kHz: another sample rate, not added",
                where=machine,
                hint="enrol at the microphone's rate; `edge-monitor enroll --anew` leaves what was enrolled behind",
            )


def _reach(measured: Sequence[Acoustics]) -> int | None:
    return reach([(each.level_dbfs, *each.noise_db) for each in measured])


def _measured(new: NewRecording) -> list[Acoustics]:
    found = []
    for each in new.normals:
        kept = None if each.descriptors is None else each.descriptors.acoustics
        try:
            found += [] if kept is None else [Acoustics.from_json(kept)]
        except ExplainError:  # of another version
            continue
    return found
