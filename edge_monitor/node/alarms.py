"""Alarms: listed, shown, and rejected by a person."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.memory import changes
from edge_monitor.memory.normal import NewNormal, NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.node.normals import in_force, rebuild
from edge_monitor.node.stored_explanations import stored_explanations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.alarm.history import AlarmRow
    from edge_monitor.memory.generations import Generation
    from edge_monitor.node.node import Node
    from edge_monitor.records import Embedding

    Answer = Iterator[dict[str, Any]]


def listed(node: Node, *, machine: str | None, since_ms: int, active_only: bool, limit: int) -> Answer:
    """Yield alarms, newest first."""
    if machine is not None:
        node.machine(machine)
    with node.reading() as connection:
        rows = history.listed(connection, machine=machine, since_ms=since_ms, active_only=active_only, limit=limit)
    for row in rows:
        yield describe(node, row)


def in_memory(node: Node) -> Answer:
    """Yield how many alarms are known that `listed` does not yet see, because the disk fails."""
    yield {"alarms": node.running.alarms_in_memory()}


def show(node: Node, *, alarm_id: str) -> Answer:
    """Yield the alarm whose id begins with `alarm_id`, with its explanations."""
    with node.reading() as connection:
        row = history.find(connection, alarm_id)
        yield {**describe(node, row), "explanations": stored_explanations(connection, row.alarm_id)}


def describe(node: Node, row: AlarmRow) -> dict[str, Any]:
    """Return an alarm as plain JSON types."""
    return {
        "alarm_id": row.alarm_id,
        "machine": row.machine,
        "started": clock.rfc3339(row.started_ms),
        "started_ms": row.started_ms,
        "ended": None if row.ended_ms is None else clock.rfc3339(row.ended_ms),
        "ended_ms": row.ended_ms,
        "end_reason": row.end_reason,
        "active": row.ended_ms is None,
        "peak_score": row.peak_score,
        "threshold": row.threshold,
        "ratio": row.peak_ratio,
        "generation": row.generation,
        "level_dbfs": row.level_dbfs,
        "events": row.last_seq + 1,
        "windows": row.windows,
        "neighbours": [asdict(neighbour) for neighbour in row.neighbours],
        "evidence": {kind: str(node.state_dir.evidence / name) for kind, name in row.evidence.items()},
        "rejected": None if row.rejected_ms is None else clock.rfc3339(row.rejected_ms),
    }


def reject(node: Node, *, alarm_id: str, add_normal: bool, undo: bool, dry_run: bool) -> Answer:
    """Mark an alarm as false; with `add_normal` its sound becomes normal. `undo` takes both back."""
    with node.reading() as connection:
        row = history.find(connection, alarm_id)
        node.machine(row.machine)
        name = f"rejected alarm {row.alarm_id}"
        normals = Normals(connection, row.machine)
        known = [each for each in normals.recordings() if each.name == name]
        learnt = sum(each.normals for each in known)
        cut_off = not in_force(normals, {each.id for each in known})
        windows = history.windows_of(connection, row.alarm_id)
    answer: dict[str, Any] = {
        "alarm_id": row.alarm_id,
        "machine": row.machine,
        "was_rejected": row.rejected_ms is not None,
        "normals": (-learnt if undo else row.windows if add_normal and not learnt else 0),
        "seconds": abs(learnt if undo else row.windows) * node.window_s,
        "dry_run": dry_run,
        "generation": None,
        "threshold_before": row.threshold,
        "threshold": None,
    }
    if not dry_run:
        built = None
        if undo and (learnt or cut_off):
            ids = changes.remove_recording(node.store, row.machine, name)
            built = _rebuilt(node, row, "undo reject", lambda: changes.restore(node.store, row.machine, ids))
        elif add_normal and not undo and (not learnt or cut_off):
            _learn(node, row, name, windows)
            built = _rebuilt(node, row, "reject", lambda: changes.remove_recording(node.store, row.machine, name))
        if built is not None:
            answer |= {"generation": built.number, "threshold": built.threshold}
        wall_ms = None if undo else clock.now().wall_ms
        node.commit(lambda connection: history.mark_rejected(connection, row.alarm_id, wall_ms))
    yield answer


def _learn(node: Node, row: AlarmRow, name: str, windows: list[tuple[float, Embedding]]) -> None:
    new = NewRecording(
        name,
        hashlib.sha256(row.alarm_id.encode()).hexdigest(),
        len(windows) * node.window_s,
        [
            NewNormal(block=0, start_s=i * node.window_s, level_dbfs=level, vector=embedding.vector)
            for i, (level, embedding) in enumerate(windows)
        ],
    )
    # not thinned: a sound that came four times has four neighbours, so that its mean distance falls
    changes.add(node.store, row.machine, new, bundle_hash=windows[0][1].bundle_hash, thin=False)


def _rebuilt(node: Node, row: AlarmRow, reason: str, undo: Callable[[], object]) -> Generation:
    """Build the next generation; when there can be none, `undo` what was changed."""
    try:
        return rebuild(node, row.machine, f"{reason} {row.alarm_id}")
    except BaseException:
        undo()
        raise
