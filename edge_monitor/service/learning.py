"""What a machine is scored with, loaded from its active generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_monitor.memory.scorer import load_scorer
from edge_monitor.service.pipeline import Learnt, NotLearnt

if TYPE_CHECKING:
    from edge_monitor.service.node import Node

log = structlog.get_logger()


def load_learnt(node: Node, machine: str, *, build: bool = True) -> Learnt | NotLearnt:
    """Return the active generation of `machine`, ready to score, or why there is none.

    With `build` False a missing or damaged index is not waited for: exact search answers until one is built.
    A generation of another bundle cannot score this one's vectors: the machine counts as not enrolled.
    """
    with node.database() as connection:
        scorer = load_scorer(connection, machine, node.state_dir.path, build=build)
    if scorer is None:
        return NotLearnt()
    generation = scorer.generation
    if generation.bundle_hash != node.bundle.bundle_hash:
        log.error("memory.bundle_mismatch", machine=machine, generation=generation.number)
        return NotLearnt(
            f"enrolled with another bundle than {node.bundle.name}: enrol again, or configure the other one"
        )
    alarm = node.machine(machine).alarm
    if alarm.threshold_generation not in (None, generation.number):
        log.warning(
            "memory.threshold_not_used",
            machine=machine,
            configured_for=alarm.threshold_generation,
            generation=generation.number,
            used="the calibrated threshold",
        )
    log.info(
        "memory.generation_loaded",
        machine=machine,
        generation=generation.number,
        normals=len(generation.members),
        threshold=round(generation.threshold, 3),
        index=scorer.index_source,
    )
    return Learnt(scorer, generation.gate_dbfs)
