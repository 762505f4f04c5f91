"""Captions that were decoded before: a vector's words depend on nothing but the vector and the decoder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.records import Vector


def find_caption(connection: sqlite3.Connection, vector: Vector, decoder_sha256: str) -> str | None:
    """Return the caption of a raw vector (dim,) as this decoder wrote it, if it has."""
    row = connection.execute(
        "SELECT text FROM captions WHERE vector_sha256 = ? AND decoder_sha256 = ?",
        (_sha256(vector), decoder_sha256),
    ).fetchone()
    return None if row is None else str(row["text"])


def keep_caption(connection: sqlite3.Connection, vector: Vector, decoder_sha256: str, text: str) -> None:
    """Keep a caption, inside the caller's transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO captions (vector_sha256, decoder_sha256, text) VALUES (?, ?, ?)",
        (_sha256(vector), decoder_sha256, text),
    )


def _sha256(vector: Vector) -> str:
    return hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()
