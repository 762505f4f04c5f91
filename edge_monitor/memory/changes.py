"""Changes of a machine's normals: computed outside, written in short commits, in force with the last of them."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor import clock
from edge_monitor.errors import NormalsError, StorageError
from edge_monitor.memory.normal import Added
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.thinning import distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_monitor.memory.normal import NewNormal, NewRecording
    from edge_monitor.store.store import Store

_AT_ONCE = 16  # windows that go into one commit: a live block, a short file
_BACK_IN_USE = "DELETE FROM out_of_use WHERE machine = ? AND bundle_hash = ? AND recording_id = ?"
_ALL = 0  # recording id in `out_of_use`: every one of the bundle's
SESSION = "live "  # how a change is named that recordings join one after the other, until `finish` or `withdraw`


@dataclass(frozen=True, slots=True)
class _Planned:
    """What is to be done for one recording."""

    new: NewRecording
    kept: list[NewNormal]  # to write, near-duplicates left out
    already: int | None  # the recording's id, when all of it is there
    removed: tuple[int, ...] = ()  # ids of what is there and out of use
    cut_off: bool = False  # an earlier try may have left something of it, or still writes it


def add(
    store: Store, machine: str, new: NewRecording, *, bundle_hash: str, thin: bool = True, part_of: str = ""
) -> Added:
    """Remember one recording, all of it or nothing; see `add_all`."""
    return add_all(store, machine, [new], bundle_hash=bundle_hash, thin=thin, part_of=part_of)[0]


def add_all(
    store: Store,
    machine: str,
    recordings: Sequence[NewRecording],
    *,
    bundle_hash: str,
    thin: bool = True,
    instead_of: str | None = None,
    part_of: str = "",
) -> list[Added]:
    """Remember recordings with their windows, all of them or none.

    A known recording adds nothing, except that what had been removed of it is in use again, and what a newer version
    measures of its windows is taken over. With `thin`, near-duplicates are left out. `instead_of` names the bundle
    whose normals these replace, `part_of` the session with whose `finish` they come into use.
    Raises BundleMismatchError when normals in use come from another bundle otherwise, NormalsError for vectors of
    another dimension.
    """
    with store.reading() as connection:
        normals = Normals(connection, machine)
        if instead_of is None:
            normals.require_bundle(bundle_hash)
        new_normals = [each for new in recordings for each in new.normals]
        normals.require_dimension(new_normals, alone=instead_of is not None)
        existing = () if instead_of is not None else (*normals.ids(), *_written_by(connection, part_of))
        planned = [_plan(normals, new, bundle_hash, existing if thin else None, part_of) for new in recordings]
    fresh = [each for each in planned if each.already is None]
    _Writing(store, machine, bundle_hash, instead_of, fresh, str(uuid.uuid4()), part_of).write()
    for each in (known for known in planned if known.already is not None):
        _measure_anew(store, each, bundle_hash)
        if part_of and each.removed:
            place = (machine, bundle_hash, each.already, part_of)
            store.commit(partial(_put_out_of_use, place=place))
        mark(store, each.removed, None)
    with store.reading() as connection:
        normals = Normals(connection, machine)
        return [_added(each, normals.known_recording(each.new.sha256) or 0) for each in planned]


def _added(each: _Planned, recording_id: int) -> Added:
    if each.already is not None:
        return Added(recording_id, len(each.removed), already=True)
    return Added(recording_id, len(each.kept), already=False, thinned=len(each.new.normals) - len(each.kept))


def remove(store: Store, machine: str, ids: Iterable[int]) -> tuple[int, ...]:
    """Take normals out of use; return those that were in it. Generations that froze them keep working."""
    with store.reading() as connection:
        normals = Normals(connection, machine)
        found = sorted(normals.known(ids) & set(normals.ids()))
    return mark(store, found, clock.now().wall_ms)


def restore(store: Store, machine: str, ids: Iterable[int]) -> tuple[int, ...]:
    """Take removed normals into use again; return those that were removed.

    Raises BundleMismatchError when they come from another bundle than those in use.
    """
    with store.reading() as connection:
        normals = Normals(connection, machine)
        back = sorted(normals.known(ids) - set(normals.ids()))
        wanted = set(back)
        for bundle in {each.bundle_hash for each in normals.normals(removed=True) if each.id in wanted}:
            normals.require_bundle(bundle)
    return mark(store, back, None)


def remove_recording(store: Store, machine: str, recording: str) -> tuple[int, ...]:
    """Take all normals of a recording (name or `#id`) out of use; return their ids. `restore` undoes it."""
    with store.reading() as connection:
        normals = Normals(connection, machine)
        source = normals.find(recording).id
        found = [each.id for each in normals.normals() if each.recording_id == source]
    return mark(store, found, clock.now().wall_ms)


def use_bundle(connection: sqlite3.Connection, machine: str, bundle_hash: str, *, instead_of: str) -> None:
    """Have one bundle's normals in use instead of another's, inside the caller's transaction."""
    connection.execute(_BACK_IN_USE, (machine, bundle_hash, _ALL))
    _put_out_of_use(connection, (machine, instead_of, _ALL, ""))


def remove_bundle(store: Store, machine: str, bundle_hash: str) -> None:
    """Mark the normals of a bundle that another has taken the place of as removed, as if they had been one by one."""
    own = (machine, bundle_hash)
    with store.reading() as connection:
        found = connection.execute(
            "SELECT id FROM normals WHERE machine = ? AND bundle_hash = ? AND removed_ms IS NULL", own
        ).fetchall()
    mark(store, [row[0] for row in found], clock.now().wall_ms)
    store.commit(lambda connection: connection.execute(_BACK_IN_USE, (*own, _ALL)))


def mark(store: Store, ids: Sequence[int], removed_ms: int | None) -> tuple[int, ...]:
    """Mark normals as removed, or (None) as in use, in pieces: each normal counts by itself."""
    store.executemany("UPDATE normals SET removed_ms = ? WHERE id = ?", [(removed_ms, each) for each in ids])
    return tuple(ids)


def finish(store: Store, machine: str, session: str, bundle_hash: str) -> None:
    """Take into use what is part of a session, all of it at once.

    Raises BundleMismatchError when normals of another bundle are in use by now.
    """

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM out_of_use WHERE change = ?", (session,))
        Normals(connection, machine).require_bundle(bundle_hash)

    store.commit(write)


def withdraw(store: Store, session: str) -> int:
    """Mark the normals of an unfinished session as removed, so that `restore` brings them back; return how many."""
    with store.reading() as connection:
        found = _written_by(connection, session)
    mark(store, found, clock.now().wall_ms)
    store.commit(lambda connection: connection.execute("DELETE FROM out_of_use WHERE change = ?", (session,)))
    return len(found)


def unfinished(store: Store) -> tuple[tuple[str, str], ...]:
    """Return machine and name of the changes that were being written when the last run ended."""
    with store.reading() as connection:
        found = connection.execute("SELECT DISTINCT machine, change FROM out_of_use WHERE change != ''").fetchall()
    return tuple((row["machine"], row["change"]) for row in found)


def discard(store: Store, change: str) -> None:
    """Delete what an unfinished change has written so far."""
    with store.reading() as connection:
        places = connection.execute("SELECT * FROM out_of_use WHERE change = ?", (change,)).fetchall()
    for place in places:
        _discard_normals(store, place["machine"], place["recording_id"], place["bundle_hash"], change)

        def forget(connection: sqlite3.Connection, place: sqlite3.Row = place) -> None:
            own = (place["recording_id"],)
            gone = connection.execute("DELETE FROM out_of_use WHERE recording_id = ? AND change = ?", (*own, change))
            used = connection.execute("SELECT 1 FROM normals WHERE recording_id = ?", own).fetchone()
            if gone.rowcount == 1 and used is None:
                connection.execute("DELETE FROM recordings WHERE id = ?", own)

        store.commit(forget)


# --- writing --------------------------------------------------------------------------------------------------------


def _plan(
    normals: Normals, new: NewRecording, bundle_hash: str, existing: Sequence[int] | None, part_of: str
) -> _Planned:
    """Plan what to write of a recording, without what nearly equals the `existing` normals or itself (None: all)."""
    query = "SELECT change FROM out_of_use WHERE recording_id = ? AND bundle_hash = ?"
    own = (normals.known_recording(new.sha256), bundle_hash)
    other = next((row[0] for row in normals.connection.execute(query, own) if row[0] != part_of), None)
    cut_off = other is not None and not (part_of and other.startswith(SESSION))
    if not cut_off:
        found = normals.connection.execute(
            "SELECT id, removed_ms FROM normals WHERE recording_id = ? AND bundle_hash = ?", own
        ).fetchall()
        if found:
            back = tuple(row["id"] for row in found if other or row["removed_ms"] is not None)
            return _Planned(new, [], own[0], back)
    kept = list(new.normals)
    if existing is not None and kept:
        vectors = np.stack([normal.vector for normal in kept]).astype(np.float32)  # (m, dim)
        keep = distinct(vectors, normals.vectors(existing).reshape(-1, vectors.shape[1]))
        kept = [normal for normal, wanted in zip(kept, keep, strict=True) if wanted]
    return _Planned(new, kept, None, cut_off=cut_off)


@dataclass(frozen=True, slots=True)
class _Writing:
    """Normals on their way in: they count from the last commit on, or from the end of the session they are part of."""

    store: Store
    machine: str
    bundle_hash: str
    instead_of: str | None
    planned: Sequence[_Planned]
    change: str
    part_of: str
    ids: dict[str, int] = field(default_factory=dict)  # of the recordings, by SHA-256, once they are there

    def write(self) -> None:
        """Write all of them: few in one commit, else in pieces."""
        few = sum(len(each.kept) for each in self.planned) <= _AT_ONCE
        if few and not any(each.cut_off for each in self.planned):
            self.store.commit(self._at_once)
            return
        try:
            self.store.in_pieces(self.planned, self._begin)
            for recording_id in self.ids.values():  # what an interrupted try has left of them
                _discard_normals(self.store, self.machine, recording_id, self.bundle_hash, self.change)
            self.store.in_pieces(self._normals(), self._insert)
            self.store.commit(self._finish)
        except BaseException:
            with suppress(sqlite3.Error, StorageError):  # else at the next start
                discard(self.store, self.change)
            raise

    def _at_once(self, connection: sqlite3.Connection) -> None:
        self._begin(connection, self.planned)
        normals = Normals(connection, self.machine)
        if any(normals.ids_of(each, self.bundle_hash) for each in self.ids.values()):
            raise _added_meanwhile(self.machine)
        self._insert(connection, self._normals())
        self._finish(connection)

    def _begin(self, connection: sqlite3.Connection, piece: Sequence[_Planned]) -> None:
        for each in piece:
            recording_id = self.ids[each.new.sha256] = Normals(connection, self.machine).recording_id(each.new)
            _put_out_of_use(connection, (self.machine, self.bundle_hash, recording_id, self.change))

    def _normals(self) -> list[tuple[int, NewNormal]]:
        return [(self.ids[each.new.sha256], normal) for each in self.planned for normal in each.kept]

    def _insert(self, connection: sqlite3.Connection, piece: Sequence[tuple[int, NewNormal]]) -> None:
        self._require_own(connection)
        Normals(connection, self.machine).insert(self.bundle_hash, piece)

    def _finish(self, connection: sqlite3.Connection) -> None:
        self._require_own(connection)
        if self.instead_of is None:
            Normals(connection, self.machine).require_bundle(self.bundle_hash)
        else:
            use_bundle(connection, self.machine, self.bundle_hash, instead_of=self.instead_of)
        if self.part_of:
            connection.execute("UPDATE out_of_use SET change = ? WHERE change = ?", (self.part_of, self.change))
        else:
            connection.execute("DELETE FROM out_of_use WHERE change = ?", (self.change,))

    def _require_own(self, connection: sqlite3.Connection) -> None:
        query = "SELECT count(*) FROM out_of_use WHERE change = ?"
        if connection.execute(query, (self.change,)).fetchone()[0] != len(self.planned):
            raise _added_meanwhile(self.machine)  # somebody else writes one of the recordings now


def _discard_normals(store: Store, machine: str, recording_id: int, bundle_hash: str, change: str) -> None:
    """Delete the normals that a bundle made of a recording, while this change is the one that writes them."""
    with store.reading() as connection:
        found = Normals(connection, machine).ids_of(recording_id, bundle_hash)

    def delete(connection: sqlite3.Connection, piece: Sequence[int]) -> None:
        query = "SELECT 1 FROM out_of_use WHERE recording_id = ? AND bundle_hash = ? AND change = ?"
        if connection.execute(query, (recording_id, bundle_hash, change)).fetchone() is not None:
            connection.executemany("DELETE FROM normals WHERE id = ?", ((each,) for each in piece))

    store.in_pieces(found, delete)


def _written_by(connection: sqlite3.Connection, change: str) -> tuple[int, ...]:
    """Return the normals in a change's recordings that are not removed."""
    found = connection.execute(
        "SELECT n.id FROM out_of_use o CROSS JOIN normals n USING (machine, bundle_hash, recording_id)"
        " WHERE o.change = ? AND n.removed_ms IS NULL ORDER BY n.id",
        (change,),
    )
    return tuple(row[0] for row in found)


def _put_out_of_use(connection: sqlite3.Connection, place: tuple[str, str, int | None, str]) -> None:
    connection.execute("INSERT OR REPLACE INTO out_of_use VALUES (?, ?, ?, ?)", place)


def _added_meanwhile(machine: str) -> NormalsError:
    return NormalsError("the same sound is being added by somebody else", where=machine, hint="try again")


def _measure_anew(store: Store, planned: _Planned, bundle_hash: str) -> None:
    """Take over what a newer version measures of windows that are known."""
    store.executemany(
        "UPDATE normals SET descriptors = ? WHERE recording_id = ? AND bundle_hash = ? AND start_s = ?",
        [
            (each.descriptors.to_json(), planned.already, bundle_hash, each.start_s)
            for each in planned.new.normals
            if each.descriptors is not None
        ],
    )
