"""Score minutes as a daemon would have written them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_monitor.pipeline import score_minutes
from edge_monitor.pipeline.score_minutes import MINUTE_MS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from edge_monitor.store.store import Store

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MIDNIGHT_MS = 1_790_035_200_000  # 2026-09-22T00:00:00Z


def minute(
    at_ms: int, score: float, *, generation: int = 1, windows: int = 60, exceeding: int = 0
) -> score_minutes.Row:
    """Return a minute of the pump whose highest score is twice its mean."""
    return ("pump", at_ms, windows, score, 2 * score, 10.0, -30.0, 1, generation, None, 0, 0, exceeding)


def write(store: Store, rows: Iterable[score_minutes.Row]) -> None:
    """Write minutes in commits as short as the daemon's."""
    everything = list(rows)

    def add(connection: sqlite3.Connection, piece: object) -> None:
        score_minutes.write(connection, piece)  # type: ignore[arg-type]  # a slice of a list is one

    store.in_pieces(everything, add)


def days(count: int, *, first_ms: int = MIDNIGHT_MS) -> list[score_minutes.Row]:
    """Return minutes of whole days, each of another score."""
    return [minute(first_ms + i * MINUTE_MS, 1.0 + i % 997 / 100) for i in range(1440 * count)]


def half_a_day(until_ms: int, usual: float, threshold: float, *, generation: int = 1) -> list[score_minutes.Row]:
    """Return twelve hours of minutes: seven as usual, then a rise to just below the threshold."""
    first_ms = until_ms - until_ms % MINUTE_MS - 720 * MINUTE_MS
    growth = math.log(0.98 * threshold / usual) / 300  # a minute
    scores = (usual * math.exp(growth * max(i - 420, 0)) * (1 + 0.01 * math.sin(1.7 * i)) for i in range(720))
    return [minute(first_ms + i * MINUTE_MS, score, generation=generation) for i, score in enumerate(scores)]
