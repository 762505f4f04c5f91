"""The normals of one machine: raw vectors of healthy windows, kept for good in SQLite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor import clock
from edge_monitor.database import transaction
from edge_monitor.errors import NormalsError
from edge_monitor.memory.leaveout import Layout
from edge_monitor.memory.normal import Added, NewNormal, Normal, Recording, bundle_mismatch
from edge_monitor.memory.thinning import distinct

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_STORED = np.dtype("<f4")  # vectors are float32 little-endian in the database


class NormalStore:
    """The normals of `machine` in an open database. All that are in use come from one bundle."""

    def __init__(self, connection: sqlite3.Connection, machine: str) -> None:
        self.connection = connection
        self.machine = machine

    def add(
        self,
        name: str,
        sha256: str,
        seconds: float,
        normals: Sequence[NewNormal],
        *,
        bundle_hash: str,
        thin: bool = True,
        added_ms: int | None = None,
    ) -> Added:
        """Remember one recording with its windows, all in one transaction.

        `sha256` (of the file's bytes, of the vectors when live) makes it idempotent: a known recording adds nothing,
        except that what had been removed of it is in use again. With `thin`, near-duplicates are left out.
        Raises BundleMismatchError when normals in use come from another bundle, NormalsError for another dimension.
        """
        with transaction(self.connection):
            return self.insert(
                name, sha256, seconds, normals, bundle_hash=bundle_hash, thin=thin, added_ms=added_ms
            )  # fmt: skip

    def insert(
        self,
        name: str,
        sha256: str,
        seconds: float,
        normals: Sequence[NewNormal],
        *,
        bundle_hash: str,
        thin: bool,
        added_ms: int | None,
    ) -> Added:
        """Do `add` inside the caller's transaction."""
        self._require_bundle({bundle_hash})
        known = self.connection.execute(
            "SELECT id FROM recordings WHERE machine = ? AND sha256 = ?", (self.machine, sha256)
        ).fetchone()
        if known is None:
            recording_id = self._insert_recording(name, sha256, seconds, added_ms)
        else:
            recording_id = int(known["id"])
            rows = self.connection.execute(
                "SELECT id, removed_ms FROM normals WHERE recording_id = ? AND bundle_hash = ?",
                (recording_id, bundle_hash),
            ).fetchall()
            if rows:
                self._measure_anew(recording_id, normals, bundle_hash)
                back = self._mark([row["id"] for row in rows if row["removed_ms"] is not None], None)
                return Added(recording_id, len(back), already=True)
        self._require_dimension(normals)
        kept = self._thinned(normals) if thin else list(normals)
        self.connection.executemany(
            "INSERT INTO normals (recording_id, machine, block, start_s, level_dbfs, mode, bundle_hash, vector,"
            " spectrogram, descriptors) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (recording_id, self.machine, new.block, new.start_s, new.level_dbfs, new.mode, bundle_hash,
                 new.vector.astype(_STORED).tobytes(), new.spectrogram, new.descriptors)
                for new in kept
            ),
        )  # fmt: skip
        return Added(recording_id, len(kept), already=False, thinned=len(normals) - len(kept))

    def recordings(self) -> tuple[Recording, ...]:
        """Return every recording with how many of its normals are in use and removed, oldest first.

        What another bundle than the one in use made of a recording is not counted.
        """
        rows = self.connection.execute(
            "SELECT r.id, r.name, r.sha256, r.seconds, r.added_ms, COUNT(n.id) - COUNT(n.removed_ms) AS normals,"
            " COUNT(n.removed_ms) AS removed FROM recordings r LEFT JOIN normals n ON n.recording_id = r.id"
            " AND n.bundle_hash = COALESCE(?, n.bundle_hash) WHERE r.machine = ? GROUP BY r.id ORDER BY r.id",
            (self.bundle_hash(), self.machine),
        )
        return tuple(Recording(**dict(row)) for row in rows)

    def normals(self, *, removed: bool = False) -> tuple[Normal, ...]:
        """Return the normals in use (with `removed`: the removed ones too), in the order they were added."""
        rows = self.connection.execute(
            "SELECT n.id, n.recording_id, r.name AS recording, n.block, n.start_s, n.level_dbfs, n.mode,"
            " n.bundle_hash, n.removed_ms FROM normals n JOIN recordings r ON r.id = n.recording_id"
            " WHERE n.machine = ? AND (? OR n.removed_ms IS NULL) ORDER BY n.id",
            (self.machine, removed),
        )
        return tuple(Normal(**dict(row)) for row in rows)

    def ids(self) -> tuple[int, ...]:
        """Return the ids of the normals in use, ascending."""
        rows = self.connection.execute(
            "SELECT id FROM normals WHERE machine = ? AND removed_ms IS NULL ORDER BY id", (self.machine,)
        )
        return tuple(row["id"] for row in rows)

    def bundle_hash(self) -> str | None:
        """Return the bundle whose vectors are in use; None when there are none."""
        row = self.connection.execute(
            "SELECT bundle_hash FROM normals WHERE machine = ? AND removed_ms IS NULL LIMIT 1", (self.machine,)
        ).fetchone()
        return None if row is None else str(row[0])

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the raw vectors of these normals, in this order, (n, dim) float32. Removed ones are kept and readable.

        Raises NormalsError when an id is not this machine's, or the vectors are not of one dimension.
        """
        rows = self.connection.execute(
            "SELECT id, vector FROM normals WHERE machine = ? AND id IN (SELECT value FROM json_each(?))",
            (self.machine, json.dumps(list(ids))),
        )
        found = {row["id"]: row["vector"] for row in rows}
        self._require_all(ids, found)
        if len({len(vector) for vector in found.values()}) > 1:
            raise NormalsError("vectors of different dimensions", where=self.machine)
        joined = np.frombuffer(b"".join(found[i] for i in ids), dtype=_STORED)
        return joined.reshape(len(ids), -1 if ids else 0).astype(np.float32)  # (n, dim)

    def layout(self, ids: Sequence[int]) -> Layout:
        """Return where these normals come from, in this order. Raises NormalsError as `vectors` does."""
        rows = self.connection.execute(
            "SELECT id, recording_id, block, start_s FROM normals"
            " WHERE machine = ? AND id IN (SELECT value FROM json_each(?))",
            (self.machine, json.dumps(list(ids))),
        )
        found = {row["id"]: row for row in rows}
        self._require_all(ids, found)
        return Layout(
            recording=np.array([found[i]["recording_id"] for i in ids], dtype=np.int64),
            block=np.array([found[i]["block"] for i in ids], dtype=np.int64),
            start_s=np.array([found[i]["start_s"] for i in ids], dtype=np.float64),
        )

    def spectrogram(self, normal_id: int) -> bytes | None:
        """Return a normal's compact picture, if it has one."""
        row = self.connection.execute(
            "SELECT spectrogram FROM normals WHERE machine = ? AND id = ?", (self.machine, normal_id)
        ).fetchone()
        return None if row is None else row["spectrogram"]

    def descriptors(self, normal_id: int) -> str | None:
        """Return the JSON of a normal's measured acoustics, if it has any."""
        row = self.connection.execute(
            "SELECT descriptors FROM normals WHERE machine = ? AND id = ?", (self.machine, normal_id)
        ).fetchone()
        return None if row is None else row["descriptors"]

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
            raise NormalsError(f"{len(found)} recordings are named {recording!r}", where=self.machine,
                               hint=f"give one of {numbers}")  # fmt: skip
        return found[0]

    def remove_recording(self, recording: str) -> tuple[int, ...]:
        """Take all normals of a recording (name or `#id`) out of use; return their ids. `restore` undoes it."""
        with transaction(self.connection):
            source = self.find(recording).id
            return self._mark([n.id for n in self.normals() if n.recording_id == source], clock.now().wall_ms)

    def remove(self, ids: Iterable[int]) -> tuple[int, ...]:
        """Take normals out of use; return those that were in it. Generations that froze them keep working."""
        with transaction(self.connection):
            wanted = self._known(ids)
            return self._mark(sorted(wanted & set(self.ids())), clock.now().wall_ms)

    def restore(self, ids: Iterable[int]) -> tuple[int, ...]:
        """Take removed normals into use again; return those that were removed.

        Raises BundleMismatchError when they come from another bundle than those in use.
        """
        with transaction(self.connection):
            wanted = self._known(ids)
            back = self._mark(sorted(wanted - set(self.ids())), None)
            self._require_bundle(set())
            return back

    def use_only(self, ids: Iterable[int]) -> tuple[int, ...]:
        """Take exactly these normals into use, and every other out of it; return those taken out.

        Raises BundleMismatchError when they are not of one bundle.
        """
        with transaction(self.connection):
            wanted = self._known(ids)
            before = set(self.ids())
            taken = self._mark(sorted(before - wanted), clock.now().wall_ms)
            self._mark(sorted(wanted - before), None)
            self._require_bundle(set())
            return taken

    def switch(self, heard: Sequence[tuple[Recording, Sequence[NewNormal]]], *, bundle_hash: str) -> None:
        """Replace all normals in use by what another bundle made of the same recordings, in one transaction."""
        with transaction(self.connection):
            self._mark(self.ids(), clock.now().wall_ms)
            for recording, normals in heard:
                self.insert(recording.name, recording.sha256, recording.seconds, normals, bundle_hash=bundle_hash,
                            thin=True, added_ms=recording.added_ms)  # fmt: skip

    def _measure_anew(self, recording_id: int, normals: Sequence[NewNormal], bundle_hash: str) -> None:
        """Take over what a newer version measures of windows that are known."""
        self.connection.executemany(
            "UPDATE normals SET descriptors = ? WHERE recording_id = ? AND bundle_hash = ? AND start_s = ?",
            (
                (new.descriptors, recording_id, bundle_hash, new.start_s)
                for new in normals
                if new.descriptors is not None
            ),
        )

    def _insert_recording(self, name: str, sha256: str, seconds: float, added_ms: int | None) -> int:
        moment = clock.now().wall_ms if added_ms is None else added_ms
        cursor = self.connection.execute(
            "INSERT INTO recordings (machine, name, sha256, seconds, added_ms) VALUES (?, ?, ?, ?, ?)",
            (self.machine, name, sha256, seconds, moment),
        )
        return int(cursor.lastrowid or 0)

    def _thinned(self, normals: Sequence[NewNormal]) -> list[NewNormal]:
        if not normals:
            return []
        new = np.stack([normal.vector for normal in normals]).astype(np.float32)  # (m, dim)
        rows = self.connection.execute(
            "SELECT vector FROM normals WHERE machine = ? AND removed_ms IS NULL", (self.machine,)
        )
        existing = np.frombuffer(b"".join(row["vector"] for row in rows), dtype=_STORED).reshape(-1, new.shape[1])
        return [normal for normal, keep in zip(normals, distinct(new, existing), strict=True) if keep]

    def _require_dimension(self, normals: Sequence[NewNormal]) -> None:
        row = self.connection.execute(
            "SELECT length(vector) / 4 FROM normals WHERE machine = ? AND removed_ms IS NULL LIMIT 1", (self.machine,)
        ).fetchone()
        dimensions = {len(normal.vector) for normal in normals} | ({row[0]} if row else set())
        if len(dimensions) > 1:
            raise NormalsError(f"vectors of different dimensions: {sorted(dimensions)}", where=self.machine)

    def _require_bundle(self, wanted: set[str]) -> None:
        rows = self.connection.execute(
            "SELECT DISTINCT bundle_hash FROM normals WHERE machine = ? AND removed_ms IS NULL", (self.machine,)
        )
        found = {row[0] for row in rows} | wanted
        if len(found) > 1:
            raise bundle_mismatch(self.machine, sorted(found))

    def _known(self, ids: Iterable[int]) -> set[int]:
        wanted = set(ids)
        self._require_all(sorted(wanted), {n.id for n in self.normals(removed=True)})
        return wanted

    def _require_all(self, ids: Sequence[int], found: Iterable[int]) -> None:
        missing = sorted(set(ids) - set(found))
        if missing:
            raise NormalsError(f"no normal {missing[0]}", where=self.machine, hint="see `edge-monitor normals list`")

    def _mark(self, ids: Sequence[int], removed_ms: int | None) -> tuple[int, ...]:
        self.connection.executemany("UPDATE normals SET removed_ms = ? WHERE id = ?", ((removed_ms, i) for i in ids))
        return tuple(ids)
