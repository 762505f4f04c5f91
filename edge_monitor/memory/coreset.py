"""The coreset: which of many normals a window is compared with, so that its time and memory have a bound."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def coreset(vectors: NDArray[np.floating], most: int | None) -> NDArray[np.bool_]:
    """Return which of n raw normals, (n, dim), are compared with, (n,): all up to `most`, else so many of them."""
    if most is None or len(vectors) <= most:
        return np.ones(len(vectors), dtype=bool)
    chosen = np.zeros(len(vectors), dtype=bool)
    chosen[np.argsort(_draws(vectors), kind="stable")[:most]] = True
    return chosen


def _draws(vectors: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return a random number for each vector, (n,), that follows from its values alone."""
    digests = b"".join(hashlib.blake2b(vector.data, digest_size=8).digest() for vector in np.ascontiguousarray(vectors))
    return np.frombuffer(digests, dtype="<u8")
