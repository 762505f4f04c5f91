"""How a machine's normals sound, as it was measured at enrolment: what an anomalous sound is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_monitor.errors import ExplainError
from edge_monitor.explain.acoustics import Acoustics, measure
from edge_monitor.explain.difference import spread_of
from edge_monitor.memory.distance import K
from edge_monitor.memory.generations import list_generations
from edge_monitor.memory.normals import Normals

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from edge_monitor.explain.difference import Spread
    from edge_monitor.memory.normal import Descriptors
    from edge_monitor.records import Samples

MOST = 500  # normals that are looked at: more do not change what is learnt of them, and each takes time to read


@dataclass(frozen=True, slots=True)
class NormalAcoustics:
    """What is known of how one generation's normals sound."""

    machine: str
    generation: int
    normals: int  # that were looked at, evenly chosen
    measured: int  # of them, at enrolment
    spread: Spread | None  # over those; None: too few
    near: Mapping[int, Acoustics]  # of the nearest normals asked for, by id

    def compared_with(self, nearest: Iterable[int]) -> tuple[list[Acoustics], Spread]:
        """Return the acoustics of the nearest normals, and the spread of all.

        Raises ExplainError when too few were measured to compare a sound with.
        """
        if not self.normals:
            raise ExplainError(f"generation {self.generation} is not known any more", where=self.machine)
        neighbours = [self.near[each] for each in nearest if each in self.near]
        if self.spread is None or not neighbours:
            raise ExplainError(
                f"only {self.measured} of {self.normals} normals were measured when they were enrolled",
                where=self.machine,
                hint="`edge-monitor enroll --anew RECORDINGS` measures them",
            )
        return neighbours, self.spread

    def beside(self, connection: sqlite3.Connection, nearest: Iterable[int]) -> NormalAcoustics:
        """Return the same with other nearest normals."""
        return replace(self, near=measured_acoustics(Normals(connection, self.machine), nearest))


def load_normal_acoustics(
    connection: sqlite3.Connection, machine: str, generation: int, nearest: Iterable[int] = ()
) -> NormalAcoustics:
    """Read what was measured of a generation's normals, and of the `nearest` ones."""
    members = next((each.members for each in list_generations(connection, machine) if each.number == generation), ())
    chosen = evenly_chosen(members)
    store = Normals(connection, machine)
    measured = measured_acoustics(store, chosen)
    spread = spread_of(list(measured.values())) if len(measured) > K else None
    return NormalAcoustics(machine, generation, len(chosen), len(measured), spread, measured_acoustics(store, nearest))


def acoustics_json(samples: Samples, rate_hz: int) -> str | None:
    """Return the acoustics of a normal window as they are kept; None for one that is too short to measure."""
    try:
        return measure(samples, rate_hz).to_json()
    except ExplainError:
        return None


def evenly_chosen(members: tuple[int, ...], most: int = MOST) -> tuple[int, ...]:
    """Return at most so many normals, evenly chosen."""
    return members[:: -(-len(members) // most) or 1]


def measured_acoustics(normals: Normals, ids: Iterable[int]) -> dict[int, Acoustics]:
    """Return what was measured of these normals; of the others there is none."""
    measured = ((normal_id, acoustics_of(normals.descriptors(normal_id))) for normal_id in ids)
    return {normal_id: acoustics for normal_id, acoustics in measured if acoustics is not None}


def acoustics_of(descriptors: Descriptors) -> Acoustics | None:
    """Return what was measured of a normal; None: nothing, or figures that are damaged or of another version."""
    if descriptors.acoustics is None:
        return None
    try:
        return Acoustics.from_json(descriptors.acoustics)
    except ExplainError:
        return None
