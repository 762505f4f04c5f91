"""Explanations as they are shown: those an alarm has, and those it waits for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.explain import jobs

if TYPE_CHECKING:
    import sqlite3


def stored_explanations(connection: sqlite3.Connection, alarm_id: str) -> list[dict[str, Any]]:
    """Return an alarm's explanations as plain JSON types, in the order of their `seq`.

    `status` is `ok`, `unavailable` (`reason` says why) or `waiting`.
    """
    finished_ms = dict(
        connection.execute(
            "SELECT method, finished_ms FROM explanations WHERE alarm_id = ? AND finished_ms IS NOT NULL", (alarm_id,)
        ).fetchall()
    )
    told = [
        {
            **asdict(each),
            "status": "unavailable" if each.text is None else "ok",
            "at": clock.rfc3339(finished_ms[each.method]),
            "at_ms": finished_ms[each.method],
        }
        for each in jobs.of_alarm(connection, alarm_id)
    ]
    waits = [
        {"alarm_id": alarm_id, "seq": job.seq, "method": job.method, "status": "waiting", "requests": job.requests}
        for worded in (False, True)
        for job in jobs.waiting(connection, worded=worded)
        if job.alarm_id == alarm_id
    ]
    return sorted(told + waits, key=lambda each: int(each["seq"]))
