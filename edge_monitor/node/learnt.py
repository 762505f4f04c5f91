"""What a machine is scored with, loaded from its active generation, and only with the bundle that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_monitor.encode.bundle import list_bundles
from edge_monitor.errors import BundleMismatchError, DamagedGenerationError, NormalsError
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.used_bundle import GO_OVER
from edge_monitor.pipeline.machine_pipeline import Learnt, NotLearnt
from edge_monitor.pipeline.sensor_check import load_sensor

if TYPE_CHECKING:
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.memory.scorer import GenerationScorer
    from edge_monitor.node.node import Node

log = structlog.get_logger()


def load_learnt(node: Node, machine: str, *, build: bool = True) -> Learnt | NotLearnt:
    """Return the active generation of `machine`, ready to score, or why there is none.

    With `build` False a missing or damaged index is not waited for: exact search answers until one is built.
    Raises BundleMismatchError for a generation of another bundle than the node's.
    """
    with node.reading() as connection:
        try:
            scorer = load_scorer(connection, machine, node.state_dir.path, build=build)
        except DamagedGenerationError as error:  # the other machines are heard all the same
            log.error("memory.generation_damaged", machine=machine, reason=str(error))
            return NotLearnt(f"{error.message} ({error.hint})", damaged=True)
        sensor = None if scorer is None else load_sensor(connection, scorer.generation)
    if scorer is None:
        return NotLearnt()
    generation = scorer.generation
    require_bundle(node, machine, generation.bundle_hash)
    alarm = node.machine(machine).alarm
    if alarm.threshold_generation not in (None, generation.number):
        log.warning(
            "memory.threshold_not_used",
            machine=machine,
            configured_for=alarm.threshold_generation,
            generation=generation.number,
            used="the calibrated threshold",
        )
    if text := node.another_scorer(machine, generation.scorer):
        log.warning("memory.scorer_not_used", machine=machine, generation=generation.number, text=text)
    log.info(
        "memory.generation_loaded",
        machine=machine,
        generation=generation.number,
        scorer=generation.scorer,
        normals=len(generation.members),
        threshold=round(generation.threshold, 3),
        index=scorer.index_source,
    )
    return Learnt(scorer, generation.gate_dbfs, sensor)


def not_enrolled(machine: str) -> NormalsError:
    """Return the error for what needs a generation, and there is none."""
    return NormalsError("not enrolled: no normal sound is known", where=machine, hint="`edge-monitor enroll` first")


def require_scorer(node: Node, machine: str) -> GenerationScorer:
    """Return the scorer of the active generation.

    Raises NormalsError when the machine is not enrolled, BundleMismatchError when with another bundle than the node's.
    """
    with node.reading() as connection:
        scorer = load_scorer(connection, machine, node.state_dir.path)
    if scorer is None:
        raise not_enrolled(machine)
    require_bundle(node, machine, scorer.generation.bundle_hash)
    return scorer


def require_bundle(node: Node, machine: str, enrolled_with: str | None, bundle: Bundle | None = None) -> None:
    """Check that what a machine was enrolled with (None: nothing) is `bundle`, by default the node's.

    Raises BundleMismatchError, which names both and says how to go on: vectors of two never mix.
    """
    used = bundle or node.bundle
    if enrolled_with in (None, used.bundle_hash):
        return
    found = {each.bundle.bundle_hash: each.name for each in reversed(list_bundles(node.state_dir.path)) if each.bundle}
    before, now = found.get(str(enrolled_with), "a bundle that is in none of the models folders"), used.name
    if before == now:  # two versions of one bundle
        before, now = f"{before} {str(enrolled_with)[:12]}", f"{now} {used.bundle_hash[:12]}"
    raise BundleMismatchError(
        f"enrolled with {before}, the configured bundle is {now}",
        where=machine,
        hint=f"set model.bundle back; or {GO_OVER}",
    )


def require_same(node: Node, bundle_hash: str) -> None:
    """Check that the asker has the node's bundle. Raises BundleMismatchError: the daemon runs with another."""
    if bundle_hash != node.bundle.bundle_hash:
        raise BundleMismatchError(
            f"the daemon runs with the bundle {node.bundle.name} {node.bundle.bundle_hash[:12]}, the configuration"
            f" now has {bundle_hash[:12]}",
            hint="stop the daemon first",
        )
