"""The acoustics of a machine's normals, as they were measured at enrolment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.errors import ExplainError
from edge_monitor.explain.acoustics import Acoustics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_monitor.memory.normals import Normals

MOST = 500  # normals that are looked at: more do not change what is learnt of them, and each takes time to read


def evenly_chosen(members: tuple[int, ...]) -> tuple[int, ...]:
    """Return at most MOST normals, evenly chosen."""
    return members[:: -(-len(members) // MOST) or 1]


def measured_acoustics(normals: Normals, ids: Iterable[int]) -> dict[int, Acoustics]:
    """Return what was measured of these normals; those of another version's figures count as not measured."""
    found = {}
    for normal_id in ids:
        kept = normals.descriptors(normal_id).acoustics
        if kept is not None:
            try:
                found[normal_id] = Acoustics.from_json(kept)
            except ExplainError:
                continue
    return found
