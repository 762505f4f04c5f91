"""The anomaly score of a window by one frozen generation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import DamagedGenerationError, NormalsError
from edge_monitor.memory.cache import IndexFile
from edge_monitor.memory.coreset import coreset
from edge_monitor.memory.generations import active_generation, possible
from edge_monitor.memory.index import ExactIndex, HnswIndex
from edge_monitor.memory.normal import bundle_mismatch
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scoring_methods import EQUATION_1, fit_scaled
from edge_monitor.records import Neighbour

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.memory.generations import Generation
    from edge_monitor.memory.index import Found, Index
    from edge_monitor.memory.normal import Normal
    from edge_monitor.memory.scoring_methods import ScaledScorer
    from edge_monitor.records import Embedding

_LOOKED_AT = 64  # normals, evenly chosen: 10 ms
_ORDER = 1000.0  # duplicates among the normals make the one smaller than the other, by less than this


@dataclass(frozen=True, slots=True)
class AnomalyScore:
    """A window's anomaly score, >= 0, higher = more anomalous, in the unit of the generation's scoring method."""

    value: float
    neighbours: tuple[Neighbour, ...]  # the k nearest normals, nearest first, at their distances in the metric


@dataclass(frozen=True, slots=True, eq=False)
class GenerationScorer:
    """Scores by one generation. Nothing in it changes: enrolling makes another."""

    generation: Generation
    index: Index
    scaled: ScaledScorer | None  # None: eq. 1, for which the neighbours are enough
    normals: tuple[Normal, ...]  # one per row of the index
    dimension: int  # of an embedding
    index_source: str  # 'cache', 'built (why the cache was not used)' or 'exact (why)': for the log

    def score(self, embedding: Embedding) -> AnomalyScore:
        """Return the score by the generation's method, and the k nearest normals, which the index finds in any case.

        Eq. 1 of the paper is the mean of their distances; other methods look at all normals themselves.
        Raises BundleMismatchError for another model's embedding, NormalsError for one that is not a finite vector of
        the normals' dimension.
        """
        if embedding.bundle_hash != self.generation.bundle_hash:
            raise bundle_mismatch(self.generation.machine, (self.generation.bundle_hash, embedding.bundle_hash))
        if embedding.vector.shape != (self.dimension,) or not np.isfinite(embedding.vector).all():
            raise NormalsError(
                f"an embedding is not a finite vector of {self.dimension}", where=self.generation.machine
            )
        vector = self.generation.scaler.apply(embedding.vector)  # (dim,)
        found = self.index.query(vector, self.generation.k)
        value = self._value(vector, found)
        if not math.isfinite(value):  # no evidence of health
            raise NormalsError(f"the score is {value}, no finite number", where=self.generation.machine)
        nearest = (self.normals[position] for position in found.position)
        return AnomalyScore(
            value=value,
            neighbours=tuple(
                Neighbour(normal.id, float(distance), normal.recording, normal.start_s)
                for normal, distance in zip(nearest, found.distance, strict=True)
            ),
        )

    def as_calibrated(self, vectors: NDArray[np.float32]) -> bool:
        """Return whether the generation's own normals, (n, dim) scaled, score about what was written down of them.

        Each is its own nearest normal here, and was not there: they are of one order, and no more than that.
        """
        chosen = vectors[:: max(1, len(vectors) // _LOOKED_AT)]
        found = [self._value(vector, self.index.query(vector, self.generation.k)) for vector in chosen]
        return 1 / _ORDER <= float(np.median(found)) / self.generation.calibration.median_score <= _ORDER

    def _value(self, vector: NDArray[np.float32], found: Found) -> float:
        return float(found.distance.mean() if self.scaled is None else self.scaled.scores(vector[None, :])[0])


def load_scorer(
    connection: sqlite3.Connection, machine: str, state_dir: Path, *, build: bool = True
) -> GenerationScorer | None:
    """Return the scorer of the machine's active generation; None when it is not enrolled.

    The index comes from `{state_dir}/index`, or is built and stored there when missing, stale or damaged. With `build`
    False a rebuild is not waited for: exact search answers meanwhile (`index_source` starts with 'exact').
    Raises DamagedGenerationError when its numbers cannot be what was learnt: it would be blind, or alarm for ever.
    """
    generation = active_generation(connection, machine)
    if generation is None:
        return None
    store = Normals(connection, machine)
    raw = store.vectors(generation.members)  # (n, dim)
    by_id = {normal.id: normal for normal in store.normals(removed=True)}
    normals = tuple(by_id[normal_id] for normal_id in generation.members)
    whole = possible(raw).all(axis=1)  # (n,)
    if not whole.all():
        normal = normals[int(np.argmin(whole))]
        hint = f"`edge-monitor normals remove '{normal.recording}'` takes it out"
        raise _damaged(generation, f"normal {normal.id} has values no embedding has", hint)
    if wrong := generation.implausible():
        raise _damaged(generation, wrong)
    file = IndexFile(state_dir / "index", machine, generation.number)
    vectors = generation.scaler.apply(raw)
    index, source = _index(vectors, generation.k, file, build=build)
    scaled = None
    if generation.scorer not in EQUATION_1:
        compared = vectors[coreset(raw, generation.max_normals)]
        scaled = fit_scaled(generation.scorer, compared, generation.bands, generation.k)
    scorer = GenerationScorer(generation, index, scaled, normals, raw.shape[1], source)
    if not scorer.as_calibrated(vectors):
        raise _damaged(generation, "its own normals do not score as they did when it was calibrated")
    return scorer


def _damaged(
    generation: Generation,
    what: str,
    hint: str = "`edge-monitor generations build` makes one anew, `generations activate` goes back",
) -> DamagedGenerationError:
    return DamagedGenerationError(
        f"generation {generation.number} is damaged: {what}", where=generation.machine, hint=hint
    )


def _index(vectors: NDArray[np.float32], k: int, file: IndexFile, *, build: bool) -> tuple[Index, str]:
    cached = file.load(vectors)
    if isinstance(cached, HnswIndex):
        return cached, "cache"
    if not build:
        return ExactIndex(vectors), f"exact (index {cached})"
    built = HnswIndex.build(vectors, k)
    if built is None:
        return ExactIndex(vectors), "exact (no search width brings the index within 1 %)"
    try:
        file.save(built, vectors)
    except OSError as error:
        return built, f"built ({cached}; not stored: {error})"
    return built, f"built ({cached})"
