"""What has become too old or too much goes, once an hour, with a tally; once a day the database is looked through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.pipeline.score_minutes import HOUR_MS
from edge_monitor.runtime.supervision import PeriodicThread
from edge_monitor.store.counters import REMOVED_BY_AGE, REMOVED_BY_SIZE, add_to_counter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from edge_monitor.config.settings import RetentionSettings
    from edge_monitor.store.store import Store

log = structlog.get_logger()
EVERY_S = 3600.0
FIRST_S = 60.0  # after the start, so that a box that is restarted daily is tidied as well
CHECK_EVERY_S = 86_400.0
DAY_MS = 86_400_000
_MEASURED = 100  # of the newest alarms, for what one takes
_ALARM_BYTES = 2000  # an alarm's row and its explanations, without its windows


@dataclass(eq=False)
class Housekeeping:
    """Keeps the retention settings in a thread of its own, which waits for the writer like any other long work.

    Ages are judged by `believed_ms`, milliseconds since 1970-01-01 UTC; `tidy_evidence` has the files looked after.
    """

    store: Store
    retention: RetentionSettings
    believed_ms: Callable[[], int]
    tidy_evidence: Callable[[], None]

    def __post_init__(self) -> None:
        """Make what is its own."""
        self._checked_s = clock.now().monotonic_s
        self.thread = PeriodicThread("housekeeping", self._keep, first_s=FIRST_S, every_s=EVERY_S)

    def _keep(self) -> None:
        self.tidy_evidence()
        believed_ms = self.believed_ms()
        if believed_ms >= clock.FIRST_CREDIBLE_MS:
            tidy(self.store, self.retention, believed_ms)
        now_s = clock.now().monotonic_s
        if now_s - self._checked_s >= CHECK_EVERY_S:
            self._checked_s = now_s
            self.store.look_for_damage(self.thread.closing)


def tidy(store: Store, retention: RetentionSettings, now_ms: int) -> None:
    """Delete alarms that ended, and figures of scores, when they are too old or too many; count and log them.

    Minutes that are still to be rolled up stay. So does what is labelled with a time before the first credible one: it
    tells no age.
    """
    first_ms = clock.FIRST_CREDIBLE_MS
    with store.reading() as connection:
        old = _ids(
            connection,
            "SELECT alarm_id FROM alarms WHERE ended_ms >= ? AND ended_ms < ?",
            first_ms,
            now_ms - round(retention.alarm_days * DAY_MS),
        )
    _delete_alarms(store, old, REMOVED_BY_AGE)
    with store.reading() as connection:
        kept = retention.alarms_max_mb * 1_000_000 // _bytes_per_alarm(connection)
        surplus = _ids(
            connection,
            "SELECT alarm_id FROM alarms WHERE ended_ms IS NOT NULL ORDER BY started_ms DESC, rowid DESC"
            " LIMIT -1 OFFSET ?",
            kept,
        )
        minutes = connection.execute(
            "SELECT machine, minute_ms FROM score_minutes AS m WHERE minute_ms >= ? AND minute_ms < ? AND NOT EXISTS"
            " (SELECT 1 FROM rollups_due d WHERE d.machine = m.machine AND hour_ms = minute_ms - minute_ms % ?)",
            (first_ms, now_ms - round(retention.score_days * DAY_MS), HOUR_MS),
        ).fetchall()
        rollups = connection.execute(
            "SELECT machine, period_s, start_ms, generation FROM score_rollups WHERE start_ms >= ? AND start_ms < ?",
            (first_ms, now_ms - round(retention.history_days * DAY_MS)),
        ).fetchall()
    _delete_alarms(store, surplus[::-1], REMOVED_BY_SIZE)  # the oldest first
    store.executemany("DELETE FROM score_minutes WHERE machine = ? AND minute_ms = ?", [tuple(row) for row in minutes])
    store.executemany(
        "DELETE FROM score_rollups WHERE machine = ? AND period_s = ? AND start_ms = ? AND generation = ?",
        [tuple(row) for row in rollups],
    )
    if old or surplus or minutes or rollups:
        log.info(
            "storage.tidied",
            alarms_too_old=len(old),
            alarms_too_many=len(surplus),
            score_minutes=len(minutes),
            score_rollups=len(rollups),
        )


def _delete_alarms(store: Store, ids: Sequence[str], counter: str) -> None:
    def delete(connection: sqlite3.Connection, piece: Sequence[str]) -> None:
        connection.executemany("DELETE FROM alarms WHERE alarm_id = ?", ((each,) for each in piece))
        add_to_counter(connection, counter, len(piece))

    store.in_pieces(ids, delete)


def _bytes_per_alarm(connection: sqlite3.Connection) -> int:
    """Return what one of the newest alarms takes with its windows, on average, bytes."""
    row = connection.execute(
        "SELECT coalesce(avg(size), 0) FROM (SELECT (SELECT coalesce(sum(length(vector)), 0) FROM alarm_windows w"
        " WHERE w.alarm_id = alarms.alarm_id) AS size FROM alarms ORDER BY started_ms DESC LIMIT ?)",
        (_MEASURED,),
    ).fetchone()
    return _ALARM_BYTES + int(row[0])


def _ids(connection: sqlite3.Connection, query: str, *values: int) -> list[str]:
    return [row[0] for row in connection.execute(query, values)]
