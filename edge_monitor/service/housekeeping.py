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


class Housekeeping:
    """Keeps the retention settings. `tick` is called often and works rarely."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._due_s = clock.now().monotonic_s + FIRST_S

    def tick(self) -> None:
        """Tidy up when it is time."""
        now_s = clock.now().monotonic_s
        if now_s < self._due_s:
            return
        self._due_s = now_s + EVERY_S
        self._daemon.explainer.tidy()
        believed_ms = self._daemon.timekeeper.believed_ms()
        if believed_ms < clock.FIRST_CREDIBLE_MS:
            return
        retention = self._daemon.settings.retention
        alarms_ms = believed_ms - round(retention.alarm_days * DAY_MS)
        scores_ms = believed_ms - round(retention.score_days * DAY_MS)
        self._daemon.storage.submit(lambda connection: forget(connection, alarms_ms, scores_ms))


def forget(connection: sqlite3.Connection, alarms_before_ms: int, scores_before_ms: int) -> None:
    """Delete alarms that ended, and score aggregates, before these wall times (milliseconds); log how many.

    What is labelled with a time before the first credible one tells no age and stays.
    """
    first_ms = clock.FIRST_CREDIBLE_MS
    alarms = connection.execute(
        "DELETE FROM alarms WHERE ended_ms >= ? AND ended_ms < ?", (first_ms, alarms_before_ms)
    ).rowcount
    scores = connection.execute(
        "DELETE FROM score_minutes WHERE minute_ms >= ? AND minute_ms < ?", (first_ms, scores_before_ms)
    ).rowcount
    if alarms or scores:
        log.info("storage.tidied", alarms=alarms, score_minutes=scores)
