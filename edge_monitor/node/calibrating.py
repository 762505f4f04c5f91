"""Calibrating anew: the threshold from the normals in use and from what was heard in operation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from edge_monitor.errors import NormalsError
from edge_monitor.memory.calibration import calibrate as calibrated
from edge_monitor.memory.generations import active_generation, list_generations
from edge_monitor.memory.healthy_operation import in_operation
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scoring_methods import method_name
from edge_monitor.node.generations import rebuild, settings_of
from edge_monitor.node.learnt import not_enrolled, require_bundle
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.pipeline.score_minutes import MINUTE_MS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

    from edge_monitor.memory.generations import Generation
    from edge_monitor.memory.healthy_operation import HealthyOperation
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled, Nothing

_MONOTONE = frozenset({"euclidean", "euclidean-unit"})  # in other spaces, or by density, a new normal may raise scores


class Calibrate(OfMachine):
    """What the threshold is to be for."""

    false_alarms_per_day: Annotated[float, Field(allow_inf_nan=False)] | None = None  # none: the configuration's
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None  # chosen by labelled sound
    dry_run: bool = False


class Calibrated(Message):
    """A threshold and what is known about it, see memory/calibration.py."""

    machine: str
    dry_run: bool
    generation: int | None  # that was built
    old_generation: int
    old_threshold: float
    threshold: float
    method: str
    wanted_per_day: float
    configured_per_day: float
    expected_per_day: float
    expected_low_per_day: float
    expected_high_per_day: float
    at_most_per_day: float | None
    cannot_promise_below_per_day: float
    extrapolated: bool
    low_line: float | None  # none: too few blocks
    changed_per_month: float | None
    changed_at_most_per_month: float | None
    independent_blocks: int | None
    normal_days: float
    operation_days: float
    calibration: str  # for a person, as the coverage and the caution are
    enough: bool
    coverage: str
    caution: str  # empty: none


def calibrate(node: Node, request: Calibrate, _cancelled: Cancelled) -> Generator[Nothing, None, Calibrated]:
    """Find the threshold anew and build the next generation with it, unless `dry_run`.

    The wanted rate is the configuration's unless `false_alarms_per_day` is given; `threshold` is one that labelled
    sound chose instead. Raises NormalsError when the machine is not enrolled, or for a rate or threshold not above 0.
    """
    yield from ()
    machine, threshold = request.machine, request.threshold
    alarm = node.machine(machine).alarm
    with node.reading() as connection:
        before = active_generation(connection, machine)
        if before is None:
            raise not_enrolled(machine)
        require_bundle(node, machine, before.bundle_hash)
        same_unit = before.scorer == method_name(node.metric)
        if threshold is not None and not same_unit:
            raise NormalsError(node.another_scorer(machine, before.scorer))
        store = Normals(connection, machine)
        members = store.ids()
        settings = settings_of(
            node,
            machine,
            false_alarms_per_day=request.false_alarms_per_day,
            operation=operation(connection, before, frozenset(members)) if same_unit else (),
            threshold=threshold,
        )
        vectors, layout = store.vectors(members), store.layout(members)
    if request.dry_run:
        found, number = calibrated(vectors, layout, node.metric, settings), None
    else:
        built = rebuild(node, machine, "calibrate", settings)
        found, number = built.calibration, built.number
    line = found.low_line
    return Calibrated.like(
        found,
        low_line=None if line is None else line.value,
        changed_per_month=None if line is None else line.per_month,
        changed_at_most_per_month=None if line is None else line.at_most_per_month,
        machine=machine,
        dry_run=request.dry_run,
        generation=number,
        old_generation=before.number,
        old_threshold=threshold_of(alarm, before),
        configured_per_day=alarm.false_alarms_per_day,
        normal_days=found.seconds / 86_400,
        calibration=found.sentence(),
        enough=found.coverage.enough,
        coverage=found.coverage.sentence,
        caution=found.caution(machine),
    )


def operation(
    connection: sqlite3.Connection, active: Generation, members: frozenset[int]
) -> tuple[HealthyOperation, ...]:
    """Return what the minutes judged live say of false alarms, for each threshold that judged them.

    Those count that were judged by the active generation's scorer and the normals in use, or by fewer of them where
    more can only lower scores, and not the time of alarms that nobody rejected: the machine may not have been healthy.
    Alarms that a person rejected are the false ones.
    """
    alike = [
        each
        for each in list_generations(connection, active.machine)
        if (members == set(each.members) or (active.scorer in _MONOTONE and members.issuperset(each.members)))
        and (each.bundle_hash, each.scorer, each.k) == (active.bundle_hash, active.scorer, active.k)
        and each.max_normals == active.max_normals
    ]
    numbers = json.dumps([each.number for each in alike])
    minutes = connection.execute(
        "SELECT threshold, count(*), min(minute_ms) FROM score_minutes AS minute WHERE machine = ? AND windows > 0"
        " AND threshold IN (SELECT threshold FROM generations WHERE machine = minute.machine"
        "  AND number IN (SELECT value FROM json_each(?)))"
        " AND NOT EXISTS (SELECT 1 FROM alarms WHERE machine = minute.machine AND rejected_ms IS NULL"
        "  AND started_ms < minute_ms + ? AND (ended_ms IS NULL OR ended_ms >= minute_ms))"
        " GROUP BY threshold ORDER BY threshold",
        (active.machine, numbers, MINUTE_MS),
    ).fetchall()
    peaks = connection.execute(
        "SELECT threshold, peak_score, started_ms FROM alarms WHERE machine = ? AND rejected_ms IS NOT NULL"
        " AND last_seq >= 0"  # an episode that was no alarm is no false one
        " AND generation IN (SELECT value FROM json_each(?))",
        (active.machine, numbers),
    ).fetchall()
    return tuple(
        in_operation(
            # minutes are forgotten earlier than alarms
            [peak for at, peak, started_ms in peaks if at == threshold and started_ms >= first_ms],
            count * MINUTE_MS / 1000,
            threshold,
        )
        for threshold, count, first_ms in minutes
    )
