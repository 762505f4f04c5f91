"""Alarms: listed, shown, and rejected by a person."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.database import transaction
from edge_monitor.memory.normal import NewNormal
from edge_monitor.memory.normals import NormalStore
from edge_monitor.service.operations.normals import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.alarm.history import AlarmRow
    from edge_monitor.service.node import Node

    Answer = Iterator[dict[str, Any]]


def listed(node: Node, *, machine: str | None, since_ms: int, active_only: bool, limit: int) -> Answer:
    """Yield alarms, newest first."""
    if machine is not None:
        node.machine(machine)
    with node.database() as connection:
        rows = history.listed(connection, machine=machine, since_ms=since_ms, active_only=active_only, limit=limit)
    for row in rows:
        yield describe(node, row)


def show(node: Node, *, alarm_id: str) -> Answer:
    """Yield the alarm whose id begins with `alarm_id`."""
    with node.database() as connection:
        yield describe(node, history.find(connection, alarm_id))


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
        "ratio": row.peak_score / row.threshold,
        "generation": row.generation,
        "level_dbfs": row.level_dbfs,
        "events": row.last_seq + 1,
        "neighbours": [asdict(neighbour) for neighbour in row.neighbours],
        "evidence": {kind: str(node.state_dir.evidence / name) for kind, name in row.evidence.items()},
        "rejected": None if row.rejected_ms is None else clock.rfc3339(row.rejected_ms),
    }


def reject(node: Node, *, alarm_id: str, add_normal: bool, undo: bool) -> Answer:
    """Mark an alarm as false; with `add_normal` its sound becomes normal. `undo` takes both back."""
    with node.database() as connection:
        row = history.find(connection, alarm_id)
        name = f"rejected alarm {row.alarm_id}"
        store = NormalStore(connection, row.machine)
        learnt = any(recording.name == name and recording.normals for recording in store.recordings())
        answer: dict[str, Any] = {"alarm_id": row.alarm_id, "machine": row.machine, "normals": 0, "generation": None}
        with transaction(connection):
            history.mark_rejected(connection, row.alarm_id, None if undo else clock.now().wall_ms)
        if undo and learnt:
            answer["normals"] = -len(store.remove_recording(name))
            answer["generation"] = rebuild(node, connection, row.machine, f"undo reject {row.alarm_id}").number
        elif add_normal and not undo:
            windows = history.windows_of(connection, row.alarm_id)
            added = store.add(
                name,
                hashlib.sha256(row.alarm_id.encode()).hexdigest(),
                len(windows) * node.window_s,
                [
                    NewNormal(block=0, start_s=i * node.window_s, level_dbfs=level, vector=embedding.vector)
                    for i, (level, embedding) in enumerate(windows)
                ],
                bundle_hash=windows[0][1].bundle_hash,
                thin=False,  # a sound that came four times has four neighbours, so that its mean distance falls
            )
            answer["normals"] = added.count
            answer["generation"] = rebuild(node, connection, row.machine, f"reject {row.alarm_id}").number
        yield answer
