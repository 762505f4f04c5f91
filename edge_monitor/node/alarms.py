"""Alarms: listed, shown, and rejected by a person."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.memory import changes
from edge_monitor.memory.calibration import calibrate
from edge_monitor.memory.leaveout import Layout
from edge_monitor.memory.normal import NewNormal, NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.node.explanations import StoredExplanation, stored_explanations
from edge_monitor.node.generations import rebuild, settings_of
from edge_monitor.node.learnt import require_bundle
from edge_monitor.node.normals import in_force
from edge_monitor.node.operation import Message
from edge_monitor.records import Neighbour

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from edge_monitor.alarm.history import AlarmRow
    from edge_monitor.memory.generations import Generation
    from edge_monitor.memory.normal import Recording
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled, Nothing
    from edge_monitor.records import Embedding

MOST = 1000  # alarms in one answer


class Alarm(Message):
    """One alarm, or one episode that is none, from its start to its end."""

    alarm_id: str
    machine: str
    kind: str  # by which it began: alarm, or changed, an episode
    raised: str | None  # RFC 3339: when it became an alarm; None: it has not
    growing: bool
    started: str  # RFC 3339
    started_ms: int
    ended: str | None
    ended_ms: int | None
    end_reason: str | None
    active: bool
    peak_score: float
    threshold: float
    ratio: float
    generation: int
    level_dbfs: float
    events: int
    windows: int
    neighbours: tuple[Neighbour, ...]
    evidence: dict[str, str]  # file by its kind
    rejected: str | None


class ExplainedAlarm(Alarm):
    """An alarm with its explanations."""

    explanations: tuple[StoredExplanation, ...]


class ListAlarms(Message):
    """Which alarms; the newest come first."""

    machine: str | None = None
    since_ms: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    active_only: bool = False
    limit: Annotated[int, Field(ge=1, le=MOST)] = 20
    offset: Annotated[int, Field(ge=0, lt=1 << 53)] = 0  # so many of the newest are left out


class Alarms(Message):
    """Alarms, newest first."""

    alarms: tuple[Alarm, ...]
    in_memory: int  # further ones that the disk does not take


class ShowAlarm(Message):
    """The alarm whose id begins so."""

    alarm_id: str


class RejectAlarm(ShowAlarm):
    """An alarm was a false one; with `add_normal` its sound becomes normal, `undo` takes both back."""

    add_normal: bool = False
    undo: bool = False
    dry_run: bool = False


class Rejected(Message):
    """What a rejection has changed, or would."""

    alarm_id: str
    machine: str
    was_rejected: bool
    normals: int  # that came into use; negative: that went
    seconds: float
    dry_run: bool
    generation: int | None
    threshold_before: float
    threshold: float | None  # of the generation that was built, or would be; None: none is


def list_alarms(node: Node, request: ListAlarms) -> Alarms:
    """Return alarms, newest first."""
    if request.machine is not None:
        node.machine(request.machine)
    with node.reading() as connection:
        rows = history.listed(connection, **request.model_dump())
    return Alarms(
        alarms=tuple(Alarm.like(row, **_told(node, row)) for row in rows),
        in_memory=node.running.alarms_in_memory(),
    )


def show_alarm(node: Node, request: ShowAlarm) -> ExplainedAlarm:
    """Return one alarm with its explanations."""
    with node.reading() as connection:
        row = history.find(connection, request.alarm_id)
        explanations = stored_explanations(connection, row.alarm_id)
    return ExplainedAlarm.like(row, **_told(node, row), explanations=explanations)


def _told(node: Node, row: AlarmRow) -> dict[str, object]:
    """Return the fields of an `Alarm` that its row has otherwise."""
    return {
        "raised": None if row.raised_ms is None else clock.rfc3339(row.raised_ms),
        "started": clock.rfc3339(row.started_ms),
        "ended": None if row.ended_ms is None else clock.rfc3339(row.ended_ms),
        "active": row.ended_ms is None,
        "ratio": row.peak_ratio,
        "events": row.last_seq + 1,
        "evidence": {kind: str(node.state_dir.evidence / name) for kind, name in row.evidence.items()},
        "rejected": None if row.rejected_ms is None else clock.rfc3339(row.rejected_ms),
    }


def reject_alarm(node: Node, request: RejectAlarm, _cancelled: Cancelled) -> Generator[Nothing, None, Rejected]:
    """Mark an alarm as false, or take that back."""
    yield from ()
    with node.reading() as connection:
        row = history.find(connection, request.alarm_id)
        node.machine(row.machine)
        name = f"rejected alarm {row.alarm_id}"
        normals = Normals(connection, row.machine)
        known = [each for each in normals.recordings() if each.name == name]
        learnt = sum(each.normals for each in known)
        cut_off = not in_force(normals, {each.id for each in known})
        windows = history.windows_of(connection, row.alarm_id)
        changed = _changed(node, normals, request, known, windows) if request.dry_run else None
    would_be = None if changed is None else calibrate(*changed, node.metric, settings_of(node, row.machine)).threshold
    built = None
    if not request.dry_run:
        if request.undo and (learnt or cut_off):
            ids = changes.remove_recording(node.store, row.machine, name)
            built = _rebuilt(node, row, "undo reject", lambda: changes.restore(node.store, row.machine, ids))
        elif request.add_normal and not request.undo and (not learnt or cut_off):
            _learn(node, row, name, windows)
            built = _rebuilt(node, row, "reject", lambda: changes.remove_recording(node.store, row.machine, name))
        wall_ms = None if request.undo else clock.now().wall_ms
        node.commit(lambda connection: history.mark_rejected(connection, row.alarm_id, wall_ms))
    return Rejected(
        alarm_id=row.alarm_id,
        machine=row.machine,
        was_rejected=row.rejected_ms is not None,
        normals=-learnt if request.undo else row.windows if request.add_normal and not learnt else 0,
        seconds=abs(learnt if request.undo else row.windows) * node.window_s,
        dry_run=request.dry_run,
        generation=None if built is None else built.number,
        threshold_before=row.threshold,
        threshold=would_be if built is None else built.threshold,
    )


def _changed(
    node: Node,
    normals: Normals,
    request: RejectAlarm,
    known: list[Recording],
    windows: list[tuple[float, Embedding]],
) -> tuple[NDArray[np.float32], Layout] | None:
    """Return the normals that would be in use, (n, dim), and where they come from; None: they stay.

    Raises BundleMismatchError as the change itself does.
    """
    require_bundle(node, normals.machine, normals.bundle_hash())
    vectors, layout = normals.vectors(ids := normals.ids()), normals.layout(ids)
    learnt = np.isin(layout.recording, [each.id for each in known])  # (n,) of the alarm's sound
    if request.undo and learnt.any():
        left = Layout(layout.recording[~learnt], layout.block[~learnt], layout.start_s[~learnt])
        return vectors[~learnt], left
    if request.undo or not request.add_normal or learnt.any() or not windows:
        return None
    normals.require_bundle(windows[0][1].bundle_hash)
    new, own = np.arange(len(windows)), max(layout.recording, default=0) + 1
    more = np.array([embedding.vector for _, embedding in windows], dtype=np.float32)
    return np.concatenate((vectors, more)) if ids else more, Layout(
        recording=np.concatenate((layout.recording, np.full(len(new), own))),
        block=np.concatenate((layout.block, np.zeros_like(new))),
        start_s=np.concatenate((layout.start_s, new * node.window_s)),
    )


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
