"""Windows that a command has heard, scored by the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.cli.sent import sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.api.client import NodeClient
    from edge_monitor.node.scoring import WindowScore
    from edge_monitor.records import Vector


def window_scores(
    client: NodeClient, machine: str, vectors: Sequence[Vector], bundle_hash: str
) -> tuple[WindowScore, ...]:
    """Return the score of each raw vector, (dim,) float32, however many there are. Raises EdgeMonitorError."""
    from edge_monitor.node.operations import SCORE
    from edge_monitor.node.scoring import MOST_WINDOWS, ScoreSound
    from edge_monitor.node.vectors import as_npy

    scores: tuple[WindowScore, ...] = ()
    for first in range(0, len(vectors), MOST_WINDOWS):
        with sent(client, as_npy(vectors[first : first + MOST_WINDOWS])) as file:
            scores += client.call(SCORE, ScoreSound(machine=machine, vectors=file, bundle_hash=bundle_hash)).scores
    return scores
