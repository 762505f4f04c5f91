"""Normals: the recordings a machine's memory is made of, changed only by these."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edge_monitor.counting import counted
from edge_monitor.errors import NormalsError
from edge_monitor.memory import changes
from edge_monitor.memory.distance import K
from edge_monitor.memory.generations import active_generation
from edge_monitor.memory.normal import bundle_mismatch
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.portable import read_recordings
from edge_monitor.node.bandwidth import learnt_highest_hz, require_bandwidth
from edge_monitor.node.generations import rebuild
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.learnt import require_bundle, require_same
from edge_monitor.node.operation import Message, OfMachine

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from edge_monitor.memory.normal import Recording
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled, Nothing

PART = "part"  # a live session is kept in parts: `live 2026-01-31T08:15:00.000Z part 3`


class AskKnown(OfMachine):
    """Which recordings may be known, by the SHA-256 of their files."""

    sha256: tuple[str, ...] = ()
    bundle_hash: str


class Known(Message):
    """Those of them that are enrolled, and those whose sound is kept."""

    known: tuple[str, ...]
    kept: tuple[str, ...]
    learnt_hz: float | None  # up to which frequency the normals have sound, Hz; None: it is not known


class AddRecording(OfMachine):
    """A recording's healthy windows."""

    file: str  # file id of a portable file with this one recording, see memory/portable.py
    bundle_hash: str


class AddedRecording(Message):
    """What became of a recording."""

    recording_id: int
    count: int  # normals now in use that were not before
    already: bool  # this sound was known; `count` is what a removal had taken away and is back
    thinned: int  # near-duplicates left out


class EnrolledRecording(Message):
    """Where normals come from: a file, or a stretch of live sound."""

    id: int
    name: str
    sha256: str
    seconds: float
    added_ms: int  # wall clock, milliseconds
    normals: int  # in use
    removed: int  # removed, restorable


class EnrolledRecordings(Message):
    """The recordings a machine's normals come from, oldest first."""

    recordings: tuple[EnrolledRecording, ...]


class ChooseRecordings(OfMachine):
    """Recordings by name, by `#number`, or by the name of a live session."""

    recordings: tuple[str, ...]
    dry_run: bool = False


class ChangedRecordings(Message):
    """What was taken out of use or into it again, or would be."""

    recordings: tuple[str, ...]
    normals: int
    left: int  # in use
    dry_run: bool
    generation: int | None  # that was built


def list_all(node: Node, request: OfMachine) -> EnrolledRecordings:
    """Return the recordings a machine's normals come from, oldest first."""
    node.machine(request.machine)
    with node.reading() as connection:
        recordings = Normals(connection, request.machine).recordings()
    return EnrolledRecordings(recordings=tuple(EnrolledRecording.like(each) for each in recordings))


def known(node: Node, request: AskKnown) -> Known:
    """Return which of these recordings are enrolled already, so that they need not be encoded again, or are kept.

    Raises BundleMismatchError when the machine was enrolled with another bundle, or the asker has another.
    """
    machine = request.machine
    node.machine(machine)
    require_same(node, request.bundle_hash)
    with node.reading() as connection:
        store = Normals(connection, machine)
        require_bundle(node, machine, store.bundle_hash())
        enrolled = {recording.sha256 for recording in store.recordings() if recording.normals}
        learnt_hz = learnt_highest_hz(connection, machine)
    kept = KeptAudio.of(node, machine)
    return Known(
        known=tuple(sorted(enrolled & set(request.sha256))),
        kept=tuple(each for each in request.sha256 if kept.has(each)),
        learnt_hz=learnt_hz,
    )


def add(node: Node, request: AddRecording, _cancelled: Cancelled) -> Generator[Nothing, None, AddedRecording]:
    """Remember one recording's healthy windows, all or none of them, near-duplicates left out.

    Raises BundleMismatchError when they were encoded by another bundle than the node's, NormalsError when the recording
    has another sample rate than what is enrolled.
    """
    yield from ()
    node.machine(request.machine)
    require_same(node, request.bundle_hash)
    where = "the recording that was sent"
    with node.files.using(request.file) as file:
        found = read_recordings(file, where=where)
    if found.bundle_hash != request.bundle_hash:
        raise bundle_mismatch(where, (found.bundle_hash, request.bundle_hash))
    if len(found.recordings) != 1:
        raise NormalsError(f"{counted(len(found.recordings), 'recording')}, one is wanted", where=where)
    with node.reading() as connection:
        require_bandwidth(connection, request.machine, found.recordings)
    added = changes.add(node.store, request.machine, found.recordings[0], bundle_hash=request.bundle_hash)
    return AddedRecording.like(added)


def remove(node: Node, request: ChooseRecordings, _cancelled: Cancelled) -> Generator[Nothing, None, ChangedRecordings]:
    """Take recordings out of use and build the next generation. All or nothing."""
    yield from ()
    return _change(node, request, restoring=False)


def restore(
    node: Node, request: ChooseRecordings, _cancelled: Cancelled
) -> Generator[Nothing, None, ChangedRecordings]:
    """Take removed recordings into use again and build the next generation. All or nothing."""
    yield from ()
    return _change(node, request, restoring=True)


def _change(node: Node, request: ChooseRecordings, *, restoring: bool) -> ChangedRecordings:
    machine = request.machine
    node.machine(machine)
    with node.reading() as connection:
        store = Normals(connection, machine)
        named = {each.id for name in request.recordings for each in _named(store, name)}
        found = [each for each in store.recordings() if each.id in named]
        used = store.bundle_hash() or node.bundle.bundle_hash
        ids = [
            each.id
            for each in store.normals(removed=True)
            if each.recording_id in named
            and each.bundle_hash == used  # a recording that another bundle heard as well has normals of both
            and (each.removed_ms is None) is not restoring
        ]
        unfinished = not ids and not in_force(store, named)
        left = len(store.ids()) + (len(ids) if restoring else -len(ids))
        if left <= K:
            raise NormalsError(
                f"would leave {counted(left, 'normal')}, at least {K + 1} are needed; nothing was changed",
                where=machine,
            )
    generation = None
    if not request.dry_run and (ids or unfinished):
        change, undo = (changes.restore, changes.remove) if restoring else (changes.remove, changes.restore)
        change(node.store, machine, ids)
        try:
            generation = rebuild(node, machine, "restore" if restoring else "remove").number
        except BaseException:
            undo(node.store, machine, ids)  # without a generation that fits, nothing was done
            raise
    return ChangedRecordings(
        recordings=tuple(each.name for each in found),
        normals=len(ids),
        left=left,
        dry_run=request.dry_run,
        generation=generation,
    )


def in_force(normals: Normals, recordings: set[int]) -> bool:
    """Return whether the active generation knows what is in use of these recordings, and nothing else of them.

    It does not when a change of them was cut off before the next generation was built.
    """
    active = active_generation(normals.connection, normals.machine)
    if active is None:
        return True
    own = {each.id for each in normals.normals(removed=True) if each.recording_id in recordings}
    return own & set(active.members) == own & set(normals.ids())


def _named(store: Normals, name: str) -> list[Recording]:
    """Return the recordings that a name, a `#number` or a live session's name means."""
    session = [each for each in store.recordings() if each.name.startswith(f"{name} {PART} ")]
    return session or [store.find(name)]


def vectors_sha256(vectors: Sequence[bytes]) -> str:
    """Return the hash that stands for live sound, which has no file: of its vectors."""
    return hashlib.sha256(b"".join(vectors)).hexdigest()
