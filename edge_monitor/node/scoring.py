"""Scores of sound that did not come from a microphone: files a person asks about."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

import numpy as np

from edge_monitor.errors import NormalsError
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.learning import require_bundle, require_same
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.records import Embedding, Neighbour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.node.node import Node
    from edge_monitor.records import Vector

MOST_WINDOWS = 1000  # in one request: a millisecond each
_MOST_BYTES = 64 << 20  # of their file


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


def score(node: Node, request: ScoreSound) -> Scores:
    """Return the score of each raw vector against the machine's active generation."""
    machine = request.machine
    alarm = node.machine(machine).alarm
    require_same(node, request.bundle_hash)
    vectors = _read(node.files.open(request.vectors))
    with node.reading() as connection:
        scorer = load_scorer(connection, machine, node.state_dir.path)
    if scorer is None:
        raise NormalsError("not enrolled: no normal sound is known", where=machine, hint="`edge-monitor enroll` first")
    generation = scorer.generation
    require_bundle(node, machine, generation.bundle_hash)
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
        )
    )


def as_npy(vectors: Sequence[Vector]) -> IO[bytes]:
    """Return raw vectors, (dim,) float32 each, as the file that `ScoreSound.vectors` names."""
    file = io.BytesIO()
    np.save(file, np.stack(vectors).astype("<f4"), allow_pickle=False)  # (n, dim)
    file.seek(0)
    return file


def _read(file: IO[bytes]) -> NDArray[np.float32]:
    """Return the vectors of a file, (n, dim) float32. Raises NormalsError for another file."""
    if file.seek(0, io.SEEK_END) > _MOST_BYTES:
        raise _unusable("it is too large")
    file.seek(0)
    content = io.BytesIO(file.read())
    try:
        if np.lib.format.read_magic(content) != (1, 0):
            raise _unusable("another version of .npy")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(content)
        if len(shape) != 2 or fortran or dtype != np.dtype("<f4"):  # noqa: PLR2004 - (n, dim)
            raise _unusable("not (n, dim) float32")
        if shape[0] > MOST_WINDOWS:
            raise _unusable(f"more than {MOST_WINDOWS} windows")
        return np.frombuffer(content.read(), dtype="<f4").reshape(shape).astype(np.float32)
    except ValueError as error:
        raise _unusable(str(error)) from error


def _unusable(why: str) -> NormalsError:
    return NormalsError(f"not the vectors of windows: {why}", hint="a .npy of (n, dim) float32 is wanted")
