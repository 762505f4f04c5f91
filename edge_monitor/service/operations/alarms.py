"""Alarms: listed, shown, and rejected by a person."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.database import transaction
from edge_monitor.errors import EdgeMonitorError
from edge_monitor.memory.normal import NewNormal
from edge_monitor.memory.normals import NormalStore
from edge_monitor.service.operations.explained import stored_explanations
from edge_monitor.service.operations.normals import rebuild

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from edge_monitor.alarm.history import AlarmRow
    from edge_monitor.memory.generations import Generation
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


def in_memory(node: Node) -> Answer:
    """Yield how many alarms are known that `listed` does not yet see, because the disk fails."""
    yield {"alarms": node.alarms_in_memory()}


def show(node: Node, *, alarm_id: str) -> Answer:
    """Yield the alarm whose id begins with `alarm_id`, with its explanations."""
    with node.database() as connection:
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
    with node.database() as connection:
        row = history.find(connection, alarm_id)
        node.machine(row.machine)
        name = f"rejected alarm {row.alarm_id}"
        store = NormalStore(connection, row.machine)
        [learnt] = [each.normals for each in store.recordings() if each.name == name] or [0]
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
            if undo and learnt:
                ids = store.remove_recording(name)
                built = _rebuilt(node, connection, row, "undo reject", lambda: store.restore(ids))
            elif add_normal and not learnt:
                _learn(node, connection, store, row, name)
                built = _rebuilt(node, connection, row, "reject", partial(store.remove_recording, name))
            if built is not None:
                answer |= {"generation": built.number, "threshold": built.threshold}
            with transaction(connection):
                history.mark_rejected(connection, row.alarm_id, None if undo else clock.now().wall_ms)
        yield answer


def _learn(node: Node, connection: sqlite3.Connection, store: NormalStore, row: AlarmRow, name: str) -> None:
    windows = history.windows_of(connection, row.alarm_id)
    store.add(
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


def _rebuilt(
    node: Node, connection: sqlite3.Connection, row: AlarmRow, reason: str, undo: Callable[[], object]
) -> Generation:
    """Build the next generation; when there can be none, `undo` what was changed."""
    try:
        return rebuild(node, connection, row.machine, f"{reason} {row.alarm_id}")
    except EdgeMonitorError:
        undo()
        raise
