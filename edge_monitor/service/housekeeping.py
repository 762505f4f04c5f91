"""What has become too old goes, once an hour, with a tally in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.service.daemon import Daemon

log = structlog.get_logger()
EVERY_S = 3600.0
FIRST_S = 60.0  # after the start, so that a box that is restarted daily is tidied as well
DAY_MS = 86_400_000
# A board without a clock boots in 1970: before this moment nothing is old enough to delete.
_FIRST_CREDIBLE_MS = 1_700_000_000_000


class Housekeeping:
    """Keeps the retention settings. `tick` is called often and works rarely."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._due_s = clock.now().monotonic_s + FIRST_S

    def tick(self) -> None:
        """Tidy up when it is time."""
        moment = clock.now()
        if moment.monotonic_s < self._due_s:
            return
        self._due_s = moment.monotonic_s + EVERY_S
        self._daemon.explainer.tidy()
        if moment.wall_ms < _FIRST_CREDIBLE_MS:
            return
        retention = self._daemon.settings.retention
        alarms_ms = moment.wall_ms - round(retention.alarm_days * DAY_MS)
        scores_ms = moment.wall_ms - round(retention.score_days * DAY_MS)
        self._daemon.storage.submit(lambda connection: forget(connection, alarms_ms, scores_ms))


def forget(connection: sqlite3.Connection, alarms_before_ms: int, scores_before_ms: int) -> None:
    """Delete alarms that ended, and score aggregates, before these wall times (milliseconds); log how many."""
    alarms = connection.execute("DELETE FROM alarms WHERE ended_ms < ?", (alarms_before_ms,)).rowcount
    scores = connection.execute("DELETE FROM score_minutes WHERE minute_ms < ?", (scores_before_ms,)).rowcount
    if alarms or scores:
        log.info("storage.tidied", alarms=alarms, score_minutes=scores)
