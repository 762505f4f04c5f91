"""Captions that were decoded before: a vector's words depend on nothing but the vector and the decoder.

None is stored, or comes out, that speaks of people or voices.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edge_monitor.explain.redaction import redact

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.records import Vector


def find_caption(connection: sqlite3.Connection, vector: Vector, decoder_sha256: str) -> str | None:
    """Return the caption of a raw vector (dim,) by this decoder, redacted, if it is kept."""
    row = connection.execute(
        "SELECT text FROM captions WHERE vector_sha256 = ? AND decoder_sha256 = ?",
        (_sha256(vector), decoder_sha256),
    ).fetchone()
    return None if row is None else redact(str(row["text"]))  # an earlier version may have let it pass


def keep_caption(connection: sqlite3.Connection, vector: Vector, decoder_sha256: str, text: str) -> None:
    """Keep a caption, redacted, inside the caller's transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO captions (vector_sha256, decoder_sha256, text) VALUES (?, ?, ?)",
        (_sha256(vector), decoder_sha256, redact(text)),
    )


def _sha256(vector: Vector) -> str:
    return hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()
