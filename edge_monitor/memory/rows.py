"""Rows of recordings and normals: written and looked up inside the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.memory.normals import STORED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from edge_monitor.memory.normal import NewNormal, NewRecording


def insert(
    connection: sqlite3.Connection, machine: str, bundle_hash: str, rows: Sequence[tuple[int, NewNormal]]
) -> None:
    """Write normals, each with its recording's id."""
    connection.executemany(
        "INSERT INTO normals (recording_id, machine, block, start_s, level_dbfs, mode, bundle_hash, vector,"
        " spectrogram, descriptors) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                recording_id,
                machine,
                new.block,
                new.start_s,
                new.level_dbfs,
                new.mode,
                bundle_hash,
                new.vector.astype(STORED).tobytes(),
                new.spectrogram,
                None if new.descriptors is None else new.descriptors.to_json(),
            )
            for recording_id, new in rows
        ),
    )


def ids_of(connection: sqlite3.Connection, recording_id: int, bundle_hash: str) -> list[int]:
    """Return the ids of the normals that a bundle made of a recording."""
    query = "SELECT id FROM normals WHERE recording_id = ? AND bundle_hash = ?"
    return [row[0] for row in connection.execute(query, (recording_id, bundle_hash))]


def recording_id(connection: sqlite3.Connection, machine: str, new: NewRecording) -> int:
    """Return the id of a recording, which is made unless it is known."""
    found = known(connection, machine, new.sha256)
    if found is not None:
        return found
    moment = clock.now().wall_ms if new.added_ms is None else new.added_ms
    cursor = connection.execute(
        "INSERT INTO recordings (machine, name, sha256, seconds, added_ms) VALUES (?, ?, ?, ?, ?)",
        (machine, new.name, new.sha256, new.seconds, moment),
    )
    return int(cursor.lastrowid or 0)


def known(connection: sqlite3.Connection, machine: str, sha256: str) -> int | None:
    """Return the id of a known recording; None of another."""
    query = "SELECT id FROM recordings WHERE machine = ? AND sha256 = ?"
    row = connection.execute(query, (machine, sha256)).fetchone()
    return None if row is None else int(row[0])


def is_unfinished(connection: sqlite3.Connection, recording_id: int, bundle_hash: str) -> bool:
    """Return whether a bundle's normals of a recording are being written, or were when a run ended."""
    query = "SELECT 1 FROM out_of_use WHERE recording_id = ? AND bundle_hash = ?"
    return connection.execute(query, (recording_id, bundle_hash)).fetchone() is not None
