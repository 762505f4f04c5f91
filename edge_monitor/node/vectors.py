"""Raw vectors as they travel: a .npy file of (n, dim) float32."""

from __future__ import annotations

import io
from tokenize import TokenError
from typing import IO, TYPE_CHECKING

import numpy as np

from edge_monitor.errors import NormalsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.records import Vector

_MOST_HEADER_BYTES = 4096
_NO_HEADER = (ValueError, SyntaxError, TokenError, RecursionError, MemoryError)  # NumPy reads it as Python


def as_npy(vectors: Sequence[Vector]) -> IO[bytes]:
    """Return raw vectors, (dim,) float32 each, as a .npy file at its beginning."""
    file = io.BytesIO()
    np.save(file, np.stack(vectors).astype("<f4"), allow_pickle=False)  # (n, dim)
    file.seek(0)
    return file


def read_vectors(file: IO[bytes], dim: int, *, most: int) -> NDArray[np.float32]:
    """Return the vectors of a .npy file, (n, dim) float32, 1 <= n <= most. Raises NormalsError for another file."""
    content = io.BytesIO(file.read(_MOST_HEADER_BYTES + most * dim * 4 + 1))
    try:
        if np.lib.format.read_magic(content) != (1, 0):
            raise _unusable("another version of .npy")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(content)
    except _NO_HEADER as error:
        raise _unusable("its header is none") from error
    values = content.read()
    if len(shape) != 2 or shape[1] != dim or fortran or dtype != np.dtype("<f4"):  # noqa: PLR2004 - (n, dim)
        raise _unusable(f"not (n, {dim}) float32")
    if not 1 <= shape[0] <= most or len(values) != shape[0] * dim * 4:
        raise _unusable(f"not one to {most} whole ones")
    vectors = np.frombuffer(values, dtype="<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise _unusable("not all values are finite")
    return vectors


def _unusable(why: str) -> NormalsError:
    return NormalsError(f"not the vectors of windows: {why}", hint=".npy, (n, dim) float32 are wanted")
