"""Near-duplicates: windows that add nothing to the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.memory.distance import chunks, distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A copy is nearer than this part of the typical distance to the fifth nearest vector (the fifth, so that copies do not
# set the measure). Real windows of one machine are never that alike: nearest distances concentrate in many dimensions.
NEAR = 0.05
_RANK = 5
_ROUNDING = 1e-5  # of a vector's length: what float32 arithmetic alone may differ by


def distinct(new: NDArray[np.float32], existing: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which of the new vectors, (m, dim) raw, to keep beside the existing ones, (n, dim): (m,) bool.

    A vector is dropped when it nearly equals an existing or an earlier kept one: sound stored twice, a digital loop.
    """
    everything = np.concatenate([existing, new]).astype(np.float64)  # (n + m, dim)
    known = len(existing)
    keep = np.ones(len(everything), dtype=bool)
    rank = min(_RANK, len(everything) - 1)
    if rank < 1:
        return keep[known:]
    typical: list[float] = []
    near: list[tuple[int, NDArray[np.int64]]] = []
    rounding = _ROUNDING * float(np.median(np.linalg.norm(everything[known:], axis=1)))
    for rows in chunks(len(new), len(everything)):
        begin = known + rows.start
        part = distances(everything[known:][rows], everything)  # (rows, n + m)
        typical.extend(np.partition(part, rank, axis=1)[:, rank])
        tolerance = max(NEAR * float(np.median(typical)), rounding)
        near.extend((begin + i, np.flatnonzero(row <= tolerance)) for i, row in enumerate(part))
    for position, alike in near:
        keep[position] = not keep[alike[alike < position]].any()
    return keep[known:]
