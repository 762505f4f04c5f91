"""Normals and generations: what a node remembers, changed only by these."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_monitor.capture.gate import learn_gate
from edge_monitor.counting import counted
from edge_monitor.errors import NormalsError
from edge_monitor.memory import changes
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.descriptors import Descriptors
from edge_monitor.memory.distance import K
from edge_monitor.memory.generations import activate, active_generation, build_generation, list_generations
from edge_monitor.memory.leaveout import block_of
from edge_monitor.memory.normal import NewNormal, NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.learning import require_bundle, require_same
from edge_monitor.node.wire import unpack_bytes, unpack_vector
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from edge_monitor.memory.generations import Generation
    from edge_monitor.memory.healthy_operation import HealthyOperation
    from edge_monitor.memory.normal import Recording
    from edge_monitor.node.node import Node

    Answer = Iterator[dict[str, Any]]

DOUBTED = 0.1  # of the new windows; of more of the same healthy sound, some in a hundred lie above the threshold
MOST_DOUBTED = 1000  # windows are asked about, a millisecond each
PART = "part"  # a live session is kept in parts: `live 2026-01-31T08:15:00.000Z part 3`


def known(node: Node, *, machine: str, sha256: list[str], bundle_hash: str) -> Answer:
    """Yield which of these recordings are enrolled already, so that they need not be encoded again, or are kept.

    Raises BundleMismatchError when the machine was enrolled with another bundle, or the asker has another.
    """
    node.machine(machine)
    require_same(node, bundle_hash)
    with node.reading() as connection:
        store = Normals(connection, machine)
        require_bundle(node, machine, store.bundle_hash())
        enrolled = {recording.sha256 for recording in store.recordings() if recording.normals}
    kept = KeptAudio.of(node, machine)
    yield {
        "known": sorted(enrolled & set(sha256)),
        "kept": [each for each in sha256 if kept.has(each)],
    }


def add(
    node: Node,
    *,
    machine: str,
    name: str,
    sha256: str,
    seconds: float,
    bundle_hash: str,
    windows: list[dict[str, Any]],
) -> Answer:
    """Remember one recording's healthy windows, all or none of them; yield what became of them.

    Raises BundleMismatchError when they were encoded by another bundle than the node's.
    """
    node.machine(machine)
    require_same(node, bundle_hash)
    normals = [
        NewNormal(
            block=block_of(window["start_s"]),
            start_s=window["start_s"],
            level_dbfs=window["level_dbfs"],
            vector=unpack_vector(window["vector"]),
            spectrogram=unpack_bytes(window["spectrogram"]),
            descriptors=Descriptors(window["quietest_dbfs"], window.get("acoustics")),
        )
        for window in windows
    ]
    new = NewRecording(name, sha256, seconds, normals)
    yield asdict(changes.add(node.store, machine, new, bundle_hash=bundle_hash))


def build(node: Node, *, machine: str, reason: str) -> Answer:
    """Build and activate the next generation from the normals in use; yield it, with a caution if it learnt a fault."""
    with node.reading() as connection:
        doubt = _doubt(node, connection, machine)
    built = describe(rebuild(node, machine, reason))
    built["caution"] = "\n".join(filter(None, (built["caution"], doubt)))
    yield built


def _doubt(node: Node, connection: sqlite3.Connection, machine: str) -> str:
    """Return one line when the active generation would have called many of the normals it does not know anomalous."""
    store = Normals(connection, machine)
    active = active_generation(connection, machine)
    if active is None or active.bundle_hash != node.bundle.bundle_hash:
        return ""
    new = sorted(set(store.ids()) - set(active.members))[:MOST_DOUBTED]
    if not new or (scorer := load_scorer(connection, machine, node.state_dir.path)) is None:
        return ""
    scores = [scorer.score(Embedding(vector, active.bundle_hash)).value for vector in store.vectors(new)]
    above = sum(score > active.threshold for score in scores)
    if above <= DOUBTED * len(new):
        return ""
    return (
        f"Caution: {above} of {len(new)} new windows lie above the threshold before ({active.threshold:.4g}): are they "
        f"healthy? `edge-monitor generations activate {active.number}` goes back."
    )


def settings_of(
    node: Node,
    machine: str,
    *,
    false_alarms_per_day: float | None = None,
    operation: tuple[HealthyOperation, ...] = (),
    threshold: float | None = None,
) -> CalibrationSettings:
    """Return what a machine's threshold is for; without `false_alarms_per_day` the configuration's rate is wanted."""
    alarm = node.machine(machine).alarm
    m, n = alarm.raise_
    wanted = alarm.false_alarms_per_day if false_alarms_per_day is None else false_alarms_per_day
    return CalibrationSettings(node.window_s, wanted, m, n, operation, threshold)


def rebuild(node: Node, machine: str, reason: str, settings: CalibrationSettings | None = None) -> Generation:
    """Build the next generation and tell the node.

    Without `settings` its threshold is for what the configuration says.
    Raises NormalsError when too few normals are in use; the running generation then stays.
    """
    with node.reading() as connection:
        normals = Normals(connection, machine)
        require_bundle(node, machine, normals.bundle_hash())
        gate_dbfs = learn_gate(_quietest(normals, normals.ids()))
    number = build_generation(
        node.store,
        machine,
        bundle_hash=node.bundle.bundle_hash,
        spec=node.metric,
        settings=settings or settings_of(node, machine),
        gate_dbfs=gate_dbfs,
        reason=reason,
    )
    node.running.generation_changed(machine)
    with node.reading() as connection:
        return next(each for each in list_generations(connection, machine) if each.number == number)


def _quietest(store: Normals, ids: Sequence[int]) -> Iterator[float]:
    """Yield the quietest moment of each normal, dBFS; normals from a rejected alarm have none."""
    for normal_id in ids:
        level = store.descriptors(normal_id).quietest_dbfs
        if level is not None:
            yield level


def describe(generation: Generation) -> dict[str, Any]:
    """Return a generation as plain JSON types."""
    calibration = generation.calibration
    return {
        "machine": generation.machine,
        "generation": generation.number,
        "active": generation.active,
        "created_ms": generation.created_ms,
        "reason": generation.reason,
        "normals": len(generation.members),
        "bundle_hash": generation.bundle_hash,
        "metric": generation.metric,
        "scorer": generation.scorer,
        "threshold": generation.threshold,
        "gate_dbfs": generation.gate_dbfs,
        "expected_false_alarms_per_day": calibration.expected_per_day,
        "cannot_promise_below_per_day": calibration.cannot_promise_below_per_day,
        "calibration": calibration.sentence(),
        "enough": calibration.coverage.enough,
        "coverage": calibration.coverage.sentence,
        "caution": calibration.caution(generation.machine),
    }


def listed(node: Node, *, machine: str) -> Answer:
    """Yield the recordings a machine's normals come from, oldest first."""
    node.machine(machine)
    with node.reading() as connection:
        recordings = Normals(connection, machine).recordings()
    yield from map(asdict, recordings)


def remove(node: Node, *, machine: str, recordings: list[str], dry_run: bool) -> Answer:
    """Take recordings out of use and build the next generation; yield what was done. All or nothing."""
    yield from _change(node, machine, recordings, dry_run=dry_run, restoring=False)


def restore(node: Node, *, machine: str, recordings: list[str], dry_run: bool) -> Answer:
    """Take removed recordings into use again and build the next generation. All or nothing."""
    yield from _change(node, machine, recordings, dry_run=dry_run, restoring=True)


def _change(node: Node, machine: str, recordings: list[str], *, dry_run: bool, restoring: bool) -> Answer:
    node.machine(machine)
    with node.reading() as connection:
        store = Normals(connection, machine)
        named = {each.id for name in recordings for each in _named(store, name)}
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
    answer: dict[str, Any] = {
        "recordings": [each.name for each in found],
        "normals": len(ids),
        "left": left,
        "dry_run": dry_run,
        "generation": None,
    }
    if not dry_run and (ids or unfinished):
        change, undo = (changes.restore, changes.remove) if restoring else (changes.remove, changes.restore)
        change(node.store, machine, ids)
        try:
            generation = rebuild(node, machine, "restore" if restoring else "remove")
        except BaseException:
            undo(node.store, machine, ids)  # without a generation that fits, nothing was done
            raise
        answer["generation"] = generation.number
    yield answer


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


def generations(node: Node, *, machine: str) -> Answer:
    """Yield every generation of a machine, oldest first."""
    node.machine(machine)
    with node.reading() as connection:
        found = list_generations(connection, machine)
    yield from map(describe, found)


def activate_generation(node: Node, *, machine: str, number: int) -> Answer:
    """Make another generation the active one; yield it."""
    node.machine(machine)
    with node.reading() as connection:
        chosen = [each for each in list_generations(connection, machine) if each.number == number]
    require_bundle(node, machine, chosen[0].bundle_hash if chosen else None)
    activate(node.store, machine, number)
    node.running.generation_changed(machine)
    with node.reading() as connection:
        active = next(each for each in list_generations(connection, machine) if each.number == number)
        in_use = Normals(connection, machine).ids()
    yield {**describe(active), "in_use": len(in_use), "as_in_use": set(in_use) == set(active.members)}


def vectors_sha256(vectors: Sequence[bytes]) -> str:
    """Return the hash that stands for live sound, which has no file: of its vectors."""
    return hashlib.sha256(b"".join(vectors)).hexdigest()
