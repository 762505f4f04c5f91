"""What a machine is scored with, loaded from its active generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_monitor.memory.scorer import load_scorer
from edge_monitor.service.pipeline import Learnt

if TYPE_CHECKING:
    from edge_monitor.service.node import Node

log = structlog.get_logger()


def load_learnt(node: Node, machine: str, *, build: bool = True) -> Learnt | None:
    """Return the active generation of `machine`, ready to score; None when it is not enrolled.

    With `build` False a missing or damaged index is not waited for: exact search answers until one is built.
    A generation of another bundle cannot score this one's vectors: that is logged, and the machine is not enrolled.
    """
    with node.database() as connection:
        scorer = load_scorer(connection, machine, node.state_dir.path, build=build)
    if scorer is None:
        return None
    generation = scorer.generation
    if generation.bundle_hash != node.bundle.bundle_hash:
        log.error(
            "memory.bundle_mismatch",
            machine=machine,
            generation=generation.number,
            enrolled_with=generation.bundle_hash[:12],
            configured=node.bundle.bundle_hash[:12],
            hint="enroll again with this bundle, or configure the one it was enrolled with",
        )
        return None
    log.info(
        "memory.generation_loaded",
        machine=machine,
        generation=generation.number,
        normals=len(generation.members),
        threshold=round(generation.threshold, 3),
        index=scorer.index_source,
    )
    return Learnt(scorer, generation.gate_dbfs)
