"""Score minutes rolled up by hour and by day, and the medians that are read of them.

An hour is due from the commit that writes one of its minutes to the commit that rolls it up: what a crash, a late
minute or weeks without a roll-up leave behind is made by the next one, and made twice it is the same.
"""

from __future__ import annotations

from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.pipeline.score_minutes import HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.store.store import Store

    Array = NDArray[np.float64]

TEN_MINUTES_S, HOUR_S, DAY_S = 600, 3600, 86_400
DAY_MS = 1000 * DAY_S
_LATE_MS = 2 * MINUTE_MS  # minutes are written twice a minute


def roll_up(store: Store, now_ms: int) -> int:
    """Roll up the hours that are due and over at `now_ms`, and the days they belong to; return how many hours.

    In short commits, each of which leaves whole hours and their days.
    """
    with store.reading() as connection:
        due = connection.execute(
            "SELECT machine, hour_ms FROM rollups_due WHERE hour_ms <= ? ORDER BY hour_ms, machine",
            (now_ms - HOUR_MS - _LATE_MS,),
        ).fetchall()
    store.in_pieces([(row["machine"], row["hour_ms"]) for row in due], write)
    return len(due)


def write(connection: sqlite3.Connection, hours: Sequence[tuple[str, int]]) -> None:
    """Roll up hours, each a machine and its start (milliseconds since 1970-01-01 UTC), and then their days."""
    for machine, start_ms in hours:
        minutes = connection.execute(
            "SELECT generation, windows, exceeding, faults, score_mean AS least, score_mean, score_mean AS middle,"
            " score_max, threshold, level_dbfs_mean FROM score_minutes"
            " WHERE machine = ? AND minute_ms >= ? AND minute_ms < ? ORDER BY minute_ms",
            (machine, start_ms, start_ms + HOUR_MS),
        ).fetchall()
        _replace(connection, (machine, HOUR_S, start_ms), minutes)
        connection.execute("DELETE FROM rollups_due WHERE machine = ? AND hour_ms = ?", (machine, start_ms))
    for machine, start_ms in sorted({(machine, start_ms - start_ms % DAY_MS) for machine, start_ms in hours}):
        parts = connection.execute(
            "SELECT generation, windows, exceeding, faults, score_min AS least, score_mean, score_median AS middle,"
            " score_max, threshold, level_dbfs_mean FROM score_rollups"
            " WHERE machine = ? AND period_s = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms",
            (machine, HOUR_S, start_ms, start_ms + DAY_MS),
        ).fetchall()
        _replace(connection, (machine, DAY_S, start_ms), parts)


def _replace(connection: sqlite3.Connection, key: tuple[str, int, int], parts: Sequence[sqlite3.Row]) -> None:
    """Write one period's row for each generation, unless there are rows made of more: some parts are gone since."""
    (made_of,) = connection.execute(
        "SELECT coalesce(sum(windows + faults), 0) FROM score_rollups"
        " WHERE machine = ? AND period_s = ? AND start_ms = ?",
        key,
    ).fetchone()
    if made_of > sum(part["windows"] + part["faults"] for part in parts):
        return
    connection.execute("DELETE FROM score_rollups WHERE machine = ? AND period_s = ? AND start_ms = ?", key)
    for generation in sorted({part["generation"] for part in parts}):
        own = [part for part in parts if part["generation"] == generation]
        connection.execute(
            "INSERT INTO score_rollups (machine, period_s, start_ms, generation, windows, exceeding, faults, score_min,"
            " score_mean, score_median, score_max, threshold, level_dbfs_mean)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, generation, *_summed(own)),
        )


def _summed(parts: Sequence[sqlite3.Row]) -> tuple[object, ...]:
    counted = [part["exceeding"] for part in parts if part["exceeding"] is not None]
    scored = [part for part in parts if part["windows"]]
    windows = sum(part["windows"] for part in scored)
    counts = (windows, sum(counted) if counted else None, sum(part["faults"] for part in parts))
    if not scored:
        return (*counts, *[None] * 6)
    return (
        *counts,
        min(part["least"] for part in scored),
        sum(part["score_mean"] * part["windows"] for part in scored) / windows,
        median(part["middle"] for part in scored),
        max(part["score_max"] for part in scored),
        scored[-1]["threshold"],
        sum(part["level_dbfs_mean"] * part["windows"] for part in scored) / windows,
    )


# --- what is read of them -------------------------------------------------------------------------------------------


def medians_of(
    connection: sqlite3.Connection, machine: str, generation: int, step_s: int, *, since_ms: int, until_ms: int
) -> tuple[Array, Array]:
    """Return ends (seconds since 1970-01-01 UTC) and medians of each whole ten minutes, hour or day in a time.

    Of the minutes' mean scores that one generation gave; a day's is the median of its hours'. Both are (n,), ascending.
    """
    if step_s == TEN_MINUTES_S:
        return _arrays(_ten_minutes(connection, machine, generation, since_ms, until_ms))
    rows = connection.execute(
        "SELECT start_ms + 1000 * period_s, score_median FROM score_rollups WHERE machine = ? AND period_s = ?"
        " AND start_ms >= ? AND start_ms <= ? - 1000 * period_s AND generation = ? AND score_median > 0"
        " ORDER BY start_ms",
        (machine, step_s, since_ms, until_ms, generation),
    )
    return _arrays([(row[0], row[1]) for row in rows])


def _ten_minutes(
    connection: sqlite3.Connection, machine: str, generation: int, since_ms: int, until_ms: int
) -> list[tuple[int, float]]:
    step_ms = 1000 * TEN_MINUTES_S
    rows = connection.execute(
        "SELECT minute_ms, score_mean FROM score_minutes WHERE machine = ? AND generation = ? AND minute_ms >= ?"
        " AND minute_ms < ? AND score_mean > 0 ORDER BY minute_ms",
        (machine, generation, since_ms - since_ms % step_ms, until_ms - until_ms % step_ms),
    )
    return [
        (start_ms + step_ms, median(row["score_mean"] for row in own))
        for start_ms, own in groupby(rows, lambda row: row["minute_ms"] - row["minute_ms"] % step_ms)
    ]


def _arrays(medians: Sequence[tuple[int, float]]) -> tuple[Array, Array]:
    ends_ms, scores = np.array(medians, dtype=np.float64).reshape(-1, 2).T
    return ends_ms / 1000, scores
