"""Generations: what a machine is scored with, built from the normals in use, and the way back to an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from edge_monitor.capture.gate import learn_gate
from edge_monitor.errors import DamagedGenerationError
from edge_monitor.memory.audibility import Audibility
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.generations import activate, active_generation, build_generation, list_generations
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.learnt import require_bundle
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.node.verdict import Verdict, facts_of, judge
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

    from edge_monitor.memory.generations import Generation
    from edge_monitor.memory.healthy_operation import HealthyOperation
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled, Nothing

DOUBTED = 0.1  # of the new windows; of more of the same healthy sound, some in a hundred lie above the threshold
MOST_DOUBTED = 1000  # windows are asked about, a millisecond each


class GenerationSummary(Message):
    """What a generation was built from and what it promises."""

    machine: str
    generation: int
    active: bool
    created_ms: int  # wall clock, milliseconds
    reason: str
    normals: int
    bundle_hash: str
    metric: str
    scorer: str
    threshold: float
    gate_dbfs: float | None
    expected_false_alarms_per_day: float
    cannot_promise_below_per_day: float
    verdict: Verdict
    seconds: float  # of normal sound
    calibration: str  # for a person, as the four below are
    enough: bool
    coverage: str
    caution: str  # empty: none
    doubt: str  # of what was learnt last; empty: none
    audibility: Audibility | None  # how faint a fault is heard; None: not measured with this threshold
    audible: str  # the same for a person; empty: not measured


class Generations(Message):
    """A machine's generations, oldest first."""

    generations: tuple[GenerationSummary, ...]


class BuildGeneration(OfMachine):
    """Why the next generation is built."""

    reason: str


class ActivateGeneration(OfMachine):
    """Which generation is to be the active one."""

    number: Annotated[int, Field(ge=1, lt=1 << 63)]


class ActivatedGeneration(GenerationSummary):
    """The active generation, beside the normals in use."""

    in_use: int  # normals
    as_in_use: bool  # it was built from just those


def list_all(node: Node, request: OfMachine) -> Generations:
    """Return every generation of a machine, oldest first."""
    node.machine(request.machine)
    with node.reading() as connection:
        found = list_generations(connection, request.machine)
    return Generations(generations=tuple(describe(node, each) for each in found))


def build(node: Node, request: BuildGeneration, _cancelled: Cancelled) -> Generator[Nothing, None, GenerationSummary]:
    """Build and activate the next generation from the normals in use; its doubt says if it learnt a fault."""
    yield from ()
    return build_next(node, request)


def build_next(node: Node, request: BuildGeneration) -> GenerationSummary:
    """Build and activate the next generation from the normals in use, and wait for it."""
    with node.reading() as connection:
        doubt = _doubt(node, connection, request.machine)
    return describe(node, rebuild(node, request.machine, request.reason), doubt)


def _doubt(node: Node, connection: sqlite3.Connection, machine: str) -> str:
    """Return one line when the active generation would have called many of the normals it does not know anomalous."""
    store = Normals(connection, machine)
    active = active_generation(connection, machine)
    if active is None or active.bundle_hash != node.bundle.bundle_hash:
        return ""
    new = sorted(set(store.ids()) - set(active.members))[:MOST_DOUBTED]
    if not new:
        return ""
    try:
        scorer = load_scorer(connection, machine, node.state_dir.path)
    except DamagedGenerationError:  # it can say nothing of them, and the next one takes its place
        return ""
    if scorer is None:
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
    return CalibrationSettings(
        node.window_s,
        wanted,
        raise_m=m,
        raise_n=n,
        changed_per_month=alarm.changed_per_month,
        changed_after_s=alarm.changed_after_s,
        operation=operation,
        threshold=threshold,
    )


def rebuild(node: Node, machine: str, reason: str, settings: CalibrationSettings | None = None) -> Generation:
    """Build the next generation and tell the node.

    Without `settings` its threshold is for what the configuration says.
    Raises NormalsError when too few normals are in use; the running generation then stays.
    """
    with node.reading() as connection:
        normals = Normals(connection, machine)
        require_bundle(node, machine, normals.bundle_hash())
        quietest = (normals.descriptors(each).quietest_dbfs for each in normals.ids())
        gate_dbfs = learn_gate(level for level in quietest if level is not None)  # a rejected alarm's normals have none
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


def describe(node: Node, generation: Generation, doubt: str = "") -> GenerationSummary:
    """Return what a generation was built from and what it promises."""
    calibration = generation.calibration
    with node.reading() as connection:
        verdict = judge(facts_of(connection, node.machine(generation.machine), generation))
    return GenerationSummary.like(
        generation,
        generation=generation.number,
        normals=len(generation.members),
        expected_false_alarms_per_day=calibration.expected_per_day,
        cannot_promise_below_per_day=calibration.cannot_promise_below_per_day,
        verdict=verdict,
        seconds=calibration.seconds,
        calibration=calibration.sentence(),
        enough=calibration.coverage.enough,
        coverage=calibration.coverage.sentence,
        caution=calibration.caution(generation.machine),
        doubt=doubt,
        audibility=calibration.audibility,
        audible=calibration.audibility.sentence() if calibration.audibility else "",
    )


def activate_again(
    node: Node, request: ActivateGeneration, _cancelled: Cancelled
) -> Generator[Nothing, None, ActivatedGeneration]:
    """Make another generation the active one."""
    yield from ()
    machine, number = request.machine, request.number
    node.machine(machine)
    with node.reading() as connection:
        chosen = [each for each in list_generations(connection, machine) if each.number == number]
    require_bundle(node, machine, chosen[0].bundle_hash if chosen else None)
    activate(node.store, machine, number)
    node.running.generation_changed(machine)
    with node.reading() as connection:
        active = next(each for each in list_generations(connection, machine) if each.number == number)
        in_use = Normals(connection, machine).ids()
    return ActivatedGeneration.like(
        describe(node, active), in_use=len(in_use), as_in_use=set(in_use) == set(active.members)
    )
