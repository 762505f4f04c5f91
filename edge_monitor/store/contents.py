"""What a database holds, counted: for a backup's manifest, and to say what a restore would replace."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.store.schema import version_of

if TYPE_CHECKING:
    from pathlib import Path

_COUNTS = (
    "AND NOT EXISTS (SELECT 1 FROM out_of_use o WHERE o.machine = normals.machine AND"
    " o.bundle_hash = normals.bundle_hash AND o.recording_id IN (0, normals.recording_id))"
)


@dataclass(frozen=True, slots=True)
class MachineContents:
    """What is known of one machine."""

    normals: int = 0  # in use
    generations: int = 0
    active: int | None = None  # the active generation's number
    bundle_hash: str | None = None  # which it was made with


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database of any schema version holds."""

    machines: dict[str, MachineContents]  # by name, those with recordings or generations
    alarms: frozenset[str]  # ids
    messages: int  # that wait for the broker, or that it refused

    @property
    def is_empty(self) -> bool:
        """Return whether nothing would be missed."""
        return not (self.machines or self.alarms or self.messages)


def contents_of(path: Path) -> tuple[Contents, int]:
    """Return what a copy of our own holds, and the version of its schema. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path)) as connection:
        return contents(connection), version_of(connection)


def contents(connection: sqlite3.Connection) -> Contents:
    """Count what a database holds. Raises sqlite3.Error."""
    names = connection.execute("SELECT machine FROM recordings UNION SELECT machine FROM generations ORDER BY machine")
    alarms = frozenset(row[0] for row in connection.execute("SELECT alarm_id FROM alarms"))
    messages = connection.execute("SELECT count(*) FROM outbox").fetchone()[0]
    return Contents({row[0]: _machine(connection, row[0]) for row in names}, alarms, messages)


def _machine(connection: sqlite3.Connection, name: str) -> MachineContents:
    in_pieces = version_of(connection) >= 7  # noqa: PLR2004 - the schema since which some rows do not count yet
    (normals,) = connection.execute(
        f"SELECT count(*) FROM normals WHERE machine = ? AND removed_ms IS NULL {_COUNTS if in_pieces else ''}",  # noqa: S608 - constants of this file
        (name,),
    ).fetchone()
    (generations,) = connection.execute(
        f"SELECT count(*) FROM generations WHERE machine = ? {'AND complete = 1' if in_pieces else ''}",  # noqa: S608 - as above
        (name,),
    ).fetchone()
    active = connection.execute(
        "SELECT number, bundle_hash FROM generations WHERE machine = ? AND active = 1", (name,)
    ).fetchone()
    return MachineContents(normals, generations, *(active or (None, None)))
