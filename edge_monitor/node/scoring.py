"""Scores of sound that did not come from a microphone: files a person asks about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.node.bandwidth import learnt_highest_hz
from edge_monitor.node.learnt import require_same, require_scorer
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.node.vectors import read_vectors
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.records import Embedding, Neighbour

if TYPE_CHECKING:
    from edge_monitor.node.node import Node

MOST_WINDOWS = 1000  # in one request: a millisecond each


class ScoreSound(OfMachine):
    """Which windows are to be scored, as the node's own bundle heard them."""

    vectors: str  # file id of a .npy: (n, dim) float32, raw, n <= MOST_WINDOWS
    bundle_hash: str


class WindowScore(Message):
    """A window's score against the active generation."""

    score: float  # >= 0, higher = more anomalous
    threshold: float
    ratio: float
    generation: int
    scorer: str
    neighbours: tuple[Neighbour, ...]


class Scores(Message):
    """The score of each window, in the order they were sent."""

    scores: tuple[WindowScore, ...]
    learnt_hz: float | None  # up to which frequency the normals have sound, Hz; None: it is not known


def score(node: Node, request: ScoreSound) -> Scores:
    """Return the score of each raw vector against the machine's active generation."""
    machine = request.machine
    alarm = node.machine(machine).alarm
    require_same(node, request.bundle_hash)
    with node.files.using(request.vectors) as file:
        vectors = read_vectors(file, node.bundle.manifest.audio.dim, most=MOST_WINDOWS)
    scorer = require_scorer(node, machine)
    with node.reading() as connection:
        learnt_hz = learnt_highest_hz(connection, machine)
    generation = scorer.generation
    threshold = threshold_of(alarm, generation)
    scored = [scorer.score(Embedding(vector, request.bundle_hash)) for vector in vectors]
    return Scores(
        scores=tuple(
            WindowScore(
                score=each.value,
                threshold=threshold,
                ratio=each.value / threshold,
                generation=generation.number,
                scorer=generation.scorer,
                neighbours=each.neighbours,
            )
            for each in scored
        ),
        learnt_hz=learnt_hz,
    )
