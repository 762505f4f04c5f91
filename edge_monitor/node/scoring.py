"""Scores of sound that did not come from a microphone: files a person asks about."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import NormalsError
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.learning import require_bundle, require_same
from edge_monitor.node.wire import unpack_vector
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.node.node import Node

    Answer = Iterator[dict[str, Any]]


def score(node: Node, *, machine: str, vectors: list[str], bundle_hash: str) -> Answer:
    """Yield the score of each raw vector against the machine's active generation."""
    node.machine(machine)
    require_same(node, bundle_hash)
    with node.reading() as connection:
        scorer = load_scorer(connection, machine, node.state_dir.path)
    if scorer is None:
        raise NormalsError("not enrolled: no normal sound is known", where=machine, hint="`edge-monitor enroll` first")
    require_bundle(node, machine, scorer.generation.bundle_hash)
    threshold = threshold_of(node.machine(machine).alarm, scorer.generation)
    for text in vectors:
        scored = scorer.score(Embedding(unpack_vector(text), bundle_hash))
        yield {
            "score": scored.value,
            "threshold": threshold,
            "ratio": scored.value / threshold,
            "generation": scorer.generation.number,
            "scorer": scorer.generation.scorer,
            "neighbours": [asdict(neighbour) for neighbour in scored.neighbours],
        }
