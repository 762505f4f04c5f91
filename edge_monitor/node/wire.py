"""Arrays and bytes as they travel in a request: base64 of float32 little-endian."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge_monitor.records import Vector


def pack_vector(vector: Vector) -> str:
    """Return a vector (dim,) as text."""
    return pack_bytes(vector.astype("<f4").tobytes())


def unpack_vector(text: str) -> Vector:
    """Return the vector (dim,) float32 that `pack_vector` made into text."""
    return np.frombuffer(b64decode(text, validate=True), dtype="<f4").astype(np.float32)


def pack_bytes(content: bytes) -> str:
    """Return bytes as text."""
    return b64encode(content).decode("ascii")


def unpack_bytes(text: str) -> bytes:
    """Return the bytes that `pack_bytes` made into text."""
    return b64decode(text, validate=True)
