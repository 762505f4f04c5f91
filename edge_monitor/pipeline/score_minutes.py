"""What became of each machine, minute by minute: scores are kept as aggregates, written in batches."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from edge_monitor.alarm.long_memory import AGE, Compared, Remembered
from edge_monitor.clock import FIRST_CREDIBLE_MS

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.records import Score

    Row = tuple[Any, ...]  # of the table score_minutes, in the order of `write`

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
KEPT = 1440  # rows that a failing disk has refused: a day of one machine, 0.3 MB


@dataclass(slots=True)
class _Minute:
    windows: int = 0
    faults: int = 0
    score_sum: float = 0.0
    score_max: float = 0.0
    level_sum_dbfs: float = 0.0
    threshold: float = 0.0
    generation: int = 0  # none
    low_line: float | None = None
    compared: int = 0  # disjoint windows, with that generation's low line
    above: int = 0
    exceeding: int = 0


class ScoreMinutes:
    """Aggregates of scores and faults that have not been written yet. Belongs to one thread, but for `give_back`.

    `lost` counts the rows that had to be let go because the disk refused more than `KEPT`.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], _Minute] = {}
        self._refused: list[Row] = []
        self._lock = threading.Lock()
        self.lost = 0

    def add_score(self, score: Score, wall_ms: int, *, above: bool | None = None) -> None:
        """Count a scored window; `above`: whether it lies above the low line, None where that does not count."""
        minute = self._at(score.machine, wall_ms)
        minute.windows += 1
        minute.score_sum += score.value
        minute.score_max = max(minute.score_max, score.value)
        minute.level_sum_dbfs += score.level_dbfs
        minute.threshold = score.threshold
        minute.exceeding += score.exceeds
        if minute.generation != score.generation:
            minute.generation, minute.low_line = score.generation, score.low_line
            minute.compared = minute.above = 0
        if above is not None:
            minute.compared += 1
            minute.above += above

    def add_fault(self, machine: str, wall_ms: int) -> None:
        """Count a window with a signal fault."""
        self._at(machine, wall_ms).faults += 1

    def _at(self, machine: str, wall_ms: int) -> _Minute:
        return self._open.setdefault((machine, wall_ms - wall_ms % MINUTE_MS), _Minute())

    def give_back(self, rows: list[Row]) -> None:
        """Keep rows that could not be written for the next time; the oldest go when there are too many."""
        with self._lock:
            kept = [*self._refused, *rows]
            self._refused = kept[-KEPT:]
            self.lost += len(kept) - len(self._refused)

    def take(self) -> list[Row]:
        """Return the rows to write, those that were given back first, and forget them."""
        with self._lock:
            rows, self._refused = self._refused, []
        for (machine, minute_ms), minute in self._open.items():
            scored = minute.windows > 0
            rows.append(
                (
                    machine,
                    minute_ms,
                    minute.windows,
                    minute.score_sum / minute.windows if scored else None,
                    minute.score_max if scored else None,
                    minute.threshold if scored else None,
                    minute.level_sum_dbfs / minute.windows if scored else None,
                    minute.faults,
                    minute.generation,
                    minute.low_line,
                    minute.compared,
                    minute.above,
                    minute.exceeding,
                )
            )
        self._open.clear()
        return rows


def write(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Merge rows into the table: a minute may be written in parts. Their hours are due to be rolled up anew."""
    connection.executemany(
        "INSERT INTO score_minutes (machine, minute_ms, windows, score_mean, score_max, threshold, level_dbfs_mean,"
        " faults, generation, low_line, compared, above, exceeding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (machine, minute_ms) DO UPDATE SET"
        " score_mean = CASE WHEN windows + excluded.windows = 0 THEN NULL ELSE"
        "  (coalesce(score_mean, 0) * windows + coalesce(excluded.score_mean, 0) * excluded.windows)"
        "  / (windows + excluded.windows) END,"
        " level_dbfs_mean = CASE WHEN windows + excluded.windows = 0 THEN NULL ELSE"
        "  (coalesce(level_dbfs_mean, 0) * windows + coalesce(excluded.level_dbfs_mean, 0) * excluded.windows)"
        "  / (windows + excluded.windows) END,"
        " score_max = max(coalesce(score_max, excluded.score_max), coalesce(excluded.score_max, score_max)),"
        " threshold = coalesce(excluded.threshold, threshold),"
        " windows = windows + excluded.windows, faults = faults + excluded.faults,"
        # another generation has another line, with which nothing that was counted before was compared
        " compared = excluded.compared + iif(excluded.generation IN (0, generation), compared, 0),"
        " above = excluded.above + iif(excluded.generation IN (0, generation), above, 0),"
        " low_line = iif(excluded.generation = 0, low_line, excluded.low_line),"
        " generation = coalesce(nullif(excluded.generation, 0), generation),"
        " exceeding = coalesce(exceeding, 0) + excluded.exceeding",
        rows,
    )
    connection.executemany(
        "INSERT OR IGNORE INTO rollups_due (machine, hour_ms) VALUES (?, ?)",
        {(row[0], row[1] - row[1] % HOUR_MS) for row in rows if row[1] >= FIRST_CREDIBLE_MS},
    )


def remembered(connection: sqlite3.Connection, machine: MachineSettings, window_s: float, wall_ms: int) -> Remembered:
    """Return what a machine's long memory goes on with: its windows, of `window_s`, by the wall clock not too old.

    Of one minute those below the line come first. Minutes that lie in the future are from before the clock was put
    back, or it is not set yet: they were heard before the others, and count as just as old as the oldest of those.
    """
    memory_s = machine.alarm.alarm_after_s
    windows: deque[Compared] = deque()
    generation, end_s = 0, 0.0
    for row in connection.execute(
        "SELECT * FROM score_minutes WHERE machine = ? AND generation > 0 AND minute_ms >= ?"
        " ORDER BY minute_ms > ?, minute_ms DESC",
        (machine.name, wall_ms - round(AGE * memory_s * 1000) - MINUTE_MS, wall_ms),
    ):
        generation = generation or row["generation"]
        if row["generation"] != generation or len(windows) * window_s > memory_s:
            break
        if row["compared"] and row["low_line"]:
            end_s = min((row["minute_ms"] + MINUTE_MS - wall_ms) / 1000, end_s)
            far = row["score_mean"] / row["low_line"]
            both = chain(repeat(True, row["above"]), repeat(False, row["compared"] - row["above"]))
            windows.extendleft(Compared(end_s, above, far) for above in both)
    return Remembered(generation, tuple(windows))
