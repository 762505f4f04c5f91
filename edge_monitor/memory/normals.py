"""The normals of one machine: raw vectors of healthy windows, kept for good in SQLite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor import clock
from edge_monitor.errors import NormalsError
from edge_monitor.memory.leaveout import Layout
from edge_monitor.memory.normal import Descriptors, Normal, Recording, bundle_mismatch

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from edge_monitor.memory.normal import NewNormal, NewRecording

STORED = np.dtype("<f4")  # vectors are float32 little-endian in the database
# What is being written, and what another bundle's normals have taken the place of, does not count. There is hardly ever
# any of that: the first part is looked at once a query.
_COUNTS = (
    "removed_ms IS NULL AND (NOT EXISTS (SELECT 1 FROM out_of_use) OR NOT EXISTS (SELECT 1 FROM out_of_use o"
    " WHERE o.machine = normals.machine AND o.bundle_hash = normals.bundle_hash"
    " AND o.recording_id IN (0, normals.recording_id)))"
)
_NORMALS = (
    "SELECT normals.id, recording_id, r.name AS recording, block, start_s, level_dbfs, mode, bundle_hash, removed_ms"
    " FROM normals JOIN recordings r ON r.id = normals.recording_id WHERE normals.machine = ?"
)
_BY_ID = "FROM normals WHERE machine = ? AND id IN (SELECT value FROM json_each(?))"
_IN_USE = f"FROM normals WHERE machine = ? AND {_COUNTS}"


class Normals:
    """The normals of `machine`, through an open connection: written inside the caller's transaction.

    All that are in use come from one bundle.
    """

    def __init__(self, connection: sqlite3.Connection, machine: str) -> None:
        self.connection = connection
        self.machine = machine

    def recordings(self) -> tuple[Recording, ...]:
        """Return every recording with how many of its normals are in use and removed, oldest first.

        What another bundle than the one in use made of a recording is not counted.
        """
        rows = self.connection.execute(
            "SELECT r.id, r.name, r.sha256, r.seconds, r.added_ms, COUNT(n.id) - COUNT(n.removed_ms) AS normals,"
            " COUNT(n.removed_ms) AS removed FROM recordings r LEFT JOIN normals n ON n.recording_id = r.id"
            " AND n.bundle_hash = COALESCE(?, n.bundle_hash) AND NOT EXISTS (SELECT 1 FROM out_of_use o WHERE"
            "  o.recording_id IN (0, n.recording_id) AND o.bundle_hash = n.bundle_hash AND o.machine = n.machine)"
            " WHERE r.machine = ? GROUP BY r.id HAVING COUNT(n.id) > 0 OR NOT EXISTS (SELECT 1 FROM out_of_use o"
            "  WHERE o.recording_id = r.id AND o.machine = r.machine) ORDER BY r.id",
            (self.bundle_hash(), self.machine),
        )
        return tuple(Recording(**dict(row)) for row in rows)

    def normals(self, *, removed: bool = False) -> tuple[Normal, ...]:
        """Return the normals in use (with `removed`: the removed ones too), in the order they were added."""
        query = f"{_NORMALS} ORDER BY normals.id" if removed else f"{_NORMALS} AND {_COUNTS} ORDER BY normals.id"
        rows = self.connection.execute(query, (self.machine,))
        return tuple(Normal(**dict(row)) for row in rows)

    def ids(self) -> tuple[int, ...]:
        """Return the ids of the normals in use, ascending."""
        rows = self.connection.execute(f"SELECT id {_IN_USE} ORDER BY id", (self.machine,))
        return tuple(row["id"] for row in rows)

    def bundle_hash(self) -> str | None:
        """Return the bundle whose vectors are in use; None when there are none."""
        row = self.connection.execute(f"SELECT bundle_hash {_IN_USE} LIMIT 1", (self.machine,)).fetchone()
        return None if row is None else str(row[0])

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the raw vectors of these normals, in this order, (n, dim) float32. Removed ones are kept and readable.

        Raises NormalsError when an id is not this machine's, or the vectors are not of one dimension.
        """
        found = [row["vector"] for row in self._in_order(f"SELECT id, vector {_BY_ID}", ids)]
        if len({len(vector) for vector in found}) > 1:
            raise NormalsError("vectors of different dimensions", where=self.machine)
        joined = np.frombuffer(b"".join(found), dtype=STORED)
        return joined.reshape(len(ids), -1 if ids else 0).astype(np.float32)  # (n, dim)

    def layout(self, ids: Sequence[int]) -> Layout:
        """Return where these normals come from, in this order. Raises NormalsError as `vectors` does."""
        rows = self._in_order(f"SELECT id, recording_id, block, start_s {_BY_ID}", ids)
        return Layout(
            recording=np.array([row["recording_id"] for row in rows], dtype=np.int64),
            block=np.array([row["block"] for row in rows], dtype=np.int64),
            start_s=np.array([row["start_s"] for row in rows], dtype=np.float64),
        )

    def spectrogram(self, normal_id: int) -> bytes | None:
        """Return a normal's compact picture, if it has one."""
        stored: bytes | None = self._stored("SELECT spectrogram FROM normals WHERE machine = ? AND id = ?", normal_id)
        return stored

    def descriptors(self, normal_id: int) -> Descriptors:
        """Return what was measured of a normal."""
        stored = self._stored("SELECT descriptors FROM normals WHERE machine = ? AND id = ?", normal_id)
        return Descriptors() if stored is None else Descriptors.from_json(stored)

    def _stored(self, query: str, normal_id: int) -> Any:  # noqa: ANN401 - what SQLite gives
        row = self.connection.execute(query, (self.machine, normal_id)).fetchone()
        return None if row is None else row[0]

    def find(self, recording: str) -> Recording:
        """Return the recording of that name, or of that id (`#7`).

        Raises NormalsError when there is none, or several of that name.
        """
        found = [entry for entry in self.recordings() if recording in {entry.name, f"#{entry.id}"}]
        if not found:
            raise NormalsError(
                f"no recording {recording!r}", where=self.machine, hint="see `edge-monitor normals list`"
            )
        if len(found) > 1:
            numbers = ", ".join(f"#{entry.id}" for entry in found)
            raise NormalsError(
                f"{len(found)} recordings are named {recording!r}", where=self.machine, hint=f"give one of {numbers}"
            )
        return found[0]

    def require_bundle(self, wanted: str) -> None:
        """Check that the normals in use come from one bundle. Raises BundleMismatchError."""
        rows = self.connection.execute(f"SELECT DISTINCT bundle_hash {_IN_USE}", (self.machine,))
        found = {row[0] for row in rows} | {wanted}
        if len(found) > 1:
            raise bundle_mismatch(self.machine, sorted(found))

    def require_dimension(self, normals: Sequence[NewNormal], *, alone: bool) -> None:
        """Check that vectors are of one length, unless `alone` that of those in use. Raises NormalsError."""
        row = self.connection.execute(f"SELECT length(vector) / 4 {_IN_USE} LIMIT 1", (self.machine,)).fetchone()
        dimensions = {len(normal.vector) for normal in normals} | ({row[0]} if row and not alone else set())
        if len(dimensions) > 1:
            raise NormalsError(f"vectors of different dimensions: {sorted(dimensions)}", where=self.machine)

    def known(self, ids: Iterable[int]) -> set[int]:
        """Return these ids. Raises NormalsError when one is not this machine's."""
        wanted = set(ids)
        self._require_all(sorted(wanted), {n.id for n in self.normals(removed=True)})
        return wanted

    def state(self) -> tuple[int, int, int]:
        """Return what changes whenever other normals are in use: how many, their ids' sum and a sum of squares."""
        row = self.connection.execute(
            f"SELECT count(*), coalesce(sum(id), 0), coalesce(sum((id % 1000003) * (id % 1000003)), 0) {_IN_USE}",
            (self.machine,),
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def known_recording(self, sha256: str) -> int | None:
        """Return the id of a known recording; None of another."""
        query = "SELECT id FROM recordings WHERE machine = ? AND sha256 = ?"
        row = self.connection.execute(query, (self.machine, sha256)).fetchone()
        return None if row is None else int(row[0])

    def recording_id(self, new: NewRecording) -> int:
        """Return the id of a recording, which is made unless it is known."""
        if (found := self.known_recording(new.sha256)) is not None:
            return found
        moment = clock.now().wall_ms if new.added_ms is None else new.added_ms
        cursor = self.connection.execute(
            "INSERT INTO recordings (machine, name, sha256, seconds, added_ms) VALUES (?, ?, ?, ?, ?)",
            (self.machine, new.name, new.sha256, new.seconds, moment),
        )
        return int(cursor.lastrowid or 0)

    def ids_of(self, recording_id: int, bundle_hash: str) -> list[int]:
        """Return the ids of the normals that a bundle made of a recording."""
        query = "SELECT id FROM normals WHERE recording_id = ? AND bundle_hash = ?"
        return [row[0] for row in self.connection.execute(query, (recording_id, bundle_hash))]

    def insert(self, bundle_hash: str, normals: Sequence[tuple[int, NewNormal]]) -> None:
        """Write normals, each with its recording's id."""
        self.connection.executemany(
            "INSERT INTO normals (recording_id, machine, block, start_s, level_dbfs, mode, bundle_hash, vector,"
            " spectrogram, descriptors) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    recording_id,
                    self.machine,
                    new.block,
                    new.start_s,
                    new.level_dbfs,
                    new.mode,
                    bundle_hash,
                    new.vector.astype(STORED).tobytes(),
                    new.spectrogram,
                    None if new.descriptors is None else new.descriptors.to_json(),
                )
                for recording_id, new in normals
            ),
        )

    def _in_order(self, query: str, ids: Sequence[int]) -> list[sqlite3.Row]:
        found = {row["id"]: row for row in self.connection.execute(query, (self.machine, json.dumps(list(ids))))}
        self._require_all(ids, found)
        return [found[i] for i in ids]

    def _require_all(self, ids: Sequence[int], found: Iterable[int]) -> None:
        missing = sorted(set(ids) - set(found))
        if missing:
            raise NormalsError(f"no normal {missing[0]}", where=self.machine, hint="see `edge-monitor normals list`")
