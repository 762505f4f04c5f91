"""Explanations as they are shown: those an alarm has, and those it waits for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from edge_monitor import clock
from edge_monitor.explain import jobs
from edge_monitor.node.operation import Message
from edge_monitor.records import Finding

if TYPE_CHECKING:
    import sqlite3


class StoredExplanation(Message):
    """One explanation of an alarm, or that it is still to come."""

    alarm_id: str
    seq: int
    method: str
    status: Literal["ok", "unavailable", "waiting"]
    at: str | None = None  # RFC 3339; None: it waits
    at_ms: int | None = None
    machine: str | None = None
    generation: int | None = None
    text: str | None = None
    reason: str = ""  # why it is unavailable
    findings: tuple[Finding, ...] = ()
    caption: str | None = None
    model: str | None = None
    prompt_version: str | None = None
    format_ok: bool | None = None
    latency_s: float | None = None
    requests: int | None = None  # made so far for one that waits


def stored_explanations(connection: sqlite3.Connection, alarm_id: str) -> tuple[StoredExplanation, ...]:
    """Return an alarm's explanations in the order of their `seq`."""
    finished_ms = dict(
        connection.execute(
            "SELECT method, finished_ms FROM explanations WHERE alarm_id = ? AND finished_ms IS NOT NULL", (alarm_id,)
        ).fetchall()
    )
    told = [
        StoredExplanation(
            **asdict(each),
            status="unavailable" if each.text is None else "ok",
            at=clock.rfc3339(finished_ms[each.method]),
            at_ms=finished_ms[each.method],
        )
        for each in jobs.of_alarm(connection, alarm_id)
    ]
    waits = [
        StoredExplanation(alarm_id=alarm_id, seq=job.seq, method=job.method, status="waiting", requests=job.requests)
        for worded in (False, True)
        for job in jobs.waiting(connection, worded=worded)
        if job.alarm_id == alarm_id
    ]
    return tuple(sorted(told + waits, key=lambda each: each.seq))
