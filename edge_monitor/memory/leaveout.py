"""Blocks of normal sound, and each one's scores against the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import NormalsError
from edge_monitor.memory.coreset import coreset
from edge_monitor.memory.scoring_methods import EQUATION_1, fit, method_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.memory.scaler import MetricSpec

BLOCK_S = 30.0  # a block of a longer recording or of live sound, seconds
MAX_FOLDS = 20  # more blocks than this share folds, so that calibrating stays fast
_EDGE_S = 1e-6  # a start of 29.9999999 s belongs to the block at 30 s


def block_of(start_s: float) -> int:
    """Return the calibration block of a window that starts `start_s` seconds into its recording.

    A recording shorter than 30 s is one block. The guard between blocks is kept when scoring, see `leave_block_out`.
    """
    return int((start_s + _EDGE_S) // BLOCK_S)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where n normals come from: what is independent of what."""

    recording: NDArray[np.int64]  # (n,) recording ids
    block: NDArray[np.int64]  # (n,) block within the recording
    start_s: NDArray[np.float64]  # (n,) position in the recording, seconds

    @property
    def unit(self) -> NDArray[np.int64]:
        """Return each normal's block, numbered from 0 over all recordings, (n,)."""
        pairs = np.stack([self.recording, self.block], axis=1)
        return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """Every normal's score as if its block had never been heard."""

    score: NDArray[np.float64]  # (n,) >= 0
    # By eq. 1, whatever scores: quotients of distances do not fall as the memory grows, so do not show that it must.
    near: NDArray[np.float64]  # (n,) >= 0; NaN where halved is
    halved: NDArray[np.float64]  # (n,) the same with every other block forgotten too; NaN where too few remain


def leave_block_out(
    vectors: NDArray[np.float32], layout: Layout, spec: MetricSpec, *, k: int, window_s: float
) -> LeftOut:
    """Score each of n raw normals, (n, dim), against the other blocks, the scorer refitted in every fold.

    Windows of the same recording nearer than one window to a held-out one are left out too (the guard). Up to
    20 blocks each is a fold of its own; beyond, block i is in fold i modulo 20. Where fewer than k normals would
    remain (one or two blocks in all) the guard is given up, then the block: such scores flatter, and the few blocks
    that cause them are what the coverage complains about.
    Of many normals each fold remembers those of the coreset, which bounds the time to so much for each normal; eq. 1
    as the scorer remembers all, as its index does.
    Raises NormalsError for fewer than k + 1 normals.
    """
    count = len(vectors)
    if count < k + 1:
        raise NormalsError(f"not enrolled: {count} normals, needs at least {k + 1}", hint="enrol more normal sound")
    unit = layout.unit
    folds = min(int(unit.max()) + 1, MAX_FOLDS)
    score = np.empty(count)
    near, halved = np.full((2, count), np.nan)
    plain = replace(spec, scorer=None)
    compared = coreset(vectors, spec.max_normals)  # (n,)
    known = np.ones(count, dtype=bool) if method_name(spec) in EQUATION_1 else compared
    for fold in range(folds):
        held = unit % folds == fold  # (n,)
        others = known & others_than(layout, held, k=k, window_s=window_s)
        if others.sum() < k:
            others = known & ~held
        if others.sum() < k:
            for position in np.flatnonzero(held):
                rest = known & (np.arange(count) != position)
                score[position] = _score(vectors, rest, np.array([position]), spec, k)[0]
            continue
        score[held] = _score(vectors, others, held, spec, k)
        half = others & compared & (_position(unit, folds) % 2 == fold % 2)
        if half.sum() >= k:
            near[held] = _score(vectors, others & compared, held, plain, k)
            halved[held] = _score(vectors, half, held, plain, k)
    return LeftOut(score, near, halved)


def others_than(layout: Layout, held: NDArray[np.bool_], *, k: int, window_s: float) -> NDArray[np.bool_]:
    """Return which of n normals are heard while those of `held`, (n,), are left out: without their guard, (n,).

    Where fewer than k would remain the guard is given up.
    """
    others = ~held & ~_guard(layout, held, window_s)
    return others if others.sum() >= k else ~held


def _score(
    vectors: NDArray[np.float32], memory: NDArray[np.bool_], queries: NDArray[np.generic], spec: MetricSpec, k: int
) -> NDArray[np.float64]:
    return fit(None, vectors[memory], spec, k).scores(vectors[queries])


def _position(unit: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Return numbers whose parity splits the blocks in two halves that both span all recordings."""
    return np.asarray(unit // folds + unit % folds, dtype=np.int64)


def _guard(layout: Layout, held: NDArray[np.bool_], window_s: float) -> NDArray[np.bool_]:
    """Return which windows begin less than two window lengths from a held-out one of the same recording, (n,)."""
    guarded = np.zeros(len(held), dtype=bool)
    for recording in np.unique(layout.recording[held]):
        same = np.flatnonzero(layout.recording == recording)
        starts = layout.start_s[same]
        left = np.sort(starts[held[same]])
        after = np.searchsorted(left, starts)
        gap = np.minimum(
            np.abs(starts - left[np.minimum(after, len(left) - 1)]), np.abs(starts - left[np.maximum(after - 1, 0)])
        )
        guarded[same] = gap < 2 * window_s - _EDGE_S
    return guarded
