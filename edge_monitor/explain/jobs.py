"""Explanations as rows: a job from the alarm's own commit on, finished together with its message."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from edge_monitor.errors import StorageError
from edge_monitor.records import Explanation, Finding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

MEASURED = "measured"
_FINDINGS = TypeAdapter(tuple[Finding, ...])
_ROWS = (
    "SELECT e.*, a.machine, a.generation,"
    " (SELECT sum(requests) FROM explanations WHERE alarm_id = e.alarm_id) AS spent"
    " FROM explanations e JOIN alarms a ON a.alarm_id = e.alarm_id"
)


@dataclass(frozen=True, slots=True)
class Job:
    """An explanation that is still to be given."""

    alarm_id: str
    machine: str
    generation: int  # which learnt state of the machine it compares with
    seq: int
    method: str
    created_ms: int  # wall clock, milliseconds since 1970-01-01 UTC
    requests: int  # to the LLM so far
    spent: int  # requests for its alarm so far, those made by hand included
    unanswered: int  # requests whose answer was never seen: the node stopped meanwhile
    draft: str | None  # an answer in the wrong form that is paid for


def create(connection: sqlite3.Connection, alarm_id: str, methods: Sequence[str], at_ms: int) -> None:
    """Add a job for each method, inside the transaction that writes the alarm."""
    connection.executemany(
        "INSERT INTO explanations (alarm_id, seq, method, created_ms) VALUES (?, ?, ?, ?)",
        ((alarm_id, seq, method, at_ms) for seq, method in enumerate(methods)),
    )


def waiting(connection: sqlite3.Connection, *, worded: bool) -> list[Job]:
    """Return what is to be worded by an LLM, or what is to be measured, oldest first."""
    rows = connection.execute(
        f"{_ROWS} WHERE e.finished_ms IS NULL AND (e.method <> ?) = ? ORDER BY e.created_ms, e.rowid",
        (MEASURED, worded),
    )
    return [_job(row) for row in rows]


def find(connection: sqlite3.Connection, alarm_id: str, method: str) -> Job | None:
    """Return a job that still waits, or None."""
    row = connection.execute(
        f"{_ROWS} WHERE e.finished_ms IS NULL AND e.alarm_id = ? AND e.method = ?", (alarm_id, method)
    ).fetchone()
    return None if row is None else _job(row)


def unavailable(job: Job, reason: str) -> Explanation:
    """Return the end of a job that cannot be done."""
    return Explanation(job.alarm_id, job.machine, job.seq, job.method, job.generation, None, reason)


def finish(
    connection: sqlite3.Connection, explanation: Explanation, *, at_ms: int, acoustics: str | None = None
) -> bool:
    """Write an explanation into its row, inside the transaction that writes its message; return False when it has one.

    `acoustics` is what was measured of the anomalous window, as JSON.
    """
    stored = asdict(explanation)
    done = connection.execute(
        "UPDATE explanations SET finished_ms = :at_ms, text = :text, reason = :reason, findings = :findings,"
        " acoustics = :acoustics, caption = :caption, model = :model, prompt_version = :prompt_version,"
        " format_ok = :format_ok, latency_s = :latency_s, unanswered = 0, draft = NULL"
        " WHERE alarm_id = :alarm_id AND method = :method AND finished_ms IS NULL",
        stored | {"at_ms": at_ms, "acoustics": acoustics, "findings": json.dumps(stored["findings"])},
    )
    return done.rowcount == 1


def of_alarm(connection: sqlite3.Connection, alarm_id: str) -> list[Explanation]:
    """Return the finished explanations of an alarm, in the order of their `seq`."""
    rows = connection.execute(f"{_ROWS} WHERE e.finished_ms IS NOT NULL AND e.alarm_id = ? ORDER BY e.seq", (alarm_id,))
    return [_explanation(row) for row in rows]


def acoustics_of(connection: sqlite3.Connection, alarm_id: str) -> str | None:
    """Return what was measured of an alarm's window, as JSON, if it was."""
    row = connection.execute(
        "SELECT acoustics FROM explanations WHERE alarm_id = ? AND method = ?", (alarm_id, MEASURED)
    ).fetchone()
    return None if row is None else row["acoustics"]


def debit(connection: sqlite3.Connection, job: Job, day: str) -> None:
    """Count a request before it is sent: for its job, and for the day (UTC, `2026-01-31`)."""
    changed = connection.execute(
        "UPDATE explanations SET requests = requests + 1, unanswered = unanswered + 1"
        " WHERE alarm_id = ? AND method = ? AND finished_ms IS NULL",
        (job.alarm_id, job.method),
    )
    if changed.rowcount != 1:
        raise StorageError("no such explanation waits", where=f"{job.alarm_id} {job.method}")
    _count_day(connection, day, 1)


def debit_by_hand(connection: sqlite3.Connection, alarm_id: str | None, day: str) -> None:
    """Count a request made by hand before it is sent: for the day, and for its alarm when it is about one."""
    _count_by_hand(connection, alarm_id, 1)
    _count_day(connection, day, 1)


def give_back_by_hand(connection: sqlite3.Connection, alarm_id: str | None, day: str) -> None:
    """Take back such a debit whose request reached no server."""
    _count_by_hand(connection, alarm_id, -1)
    _count_day(connection, day, -1)


def requests_for(connection: sqlite3.Connection, alarm_id: str) -> int:
    """Return how many requests were counted for an alarm, by its jobs and by hand."""
    row = connection.execute("SELECT sum(requests) FROM explanations WHERE alarm_id = ?", (alarm_id,)).fetchone()
    return int(row[0] or 0)


def requests_on(connection: sqlite3.Connection, day: str) -> int:
    """Return how many requests were counted on a day (UTC, `2026-01-31`)."""
    row = connection.execute("SELECT requests FROM llm_days WHERE day = ?", (day,)).fetchone()
    return 0 if row is None else int(row["requests"])


def came_back(connection: sqlite3.Connection, job: Job, *, draft: str | None = None) -> None:
    """Note that a request was answered, by whatever; `draft` is an answer in the wrong form."""
    connection.execute(
        "UPDATE explanations SET unanswered = 0, draft = coalesce(?, draft) WHERE alarm_id = ? AND method = ?",
        (draft, job.alarm_id, job.method),
    )


def give_back(connection: sqlite3.Connection, job: Job, day: str) -> None:
    """Take back a debit whose request reached no server: nobody answered it, and nobody was paid."""
    connection.execute(
        "UPDATE explanations SET requests = requests - 1, unanswered = 0 WHERE alarm_id = ? AND method = ?",
        (job.alarm_id, job.method),
    )
    _count_day(connection, day, -1)


def _count_by_hand(connection: sqlite3.Connection, alarm_id: str | None, change: int) -> None:
    """Count at what was measured: every alarm has that row, and no request of a job is counted there."""
    connection.execute(
        "UPDATE explanations SET requests = requests + ? WHERE alarm_id = ? AND method = ?",
        (change, alarm_id, MEASURED),
    )


def _count_day(connection: sqlite3.Connection, day: str, change: int) -> None:
    connection.execute(
        "INSERT INTO llm_days (day, requests) VALUES (?, ?)"
        " ON CONFLICT (day) DO UPDATE SET requests = requests + excluded.requests",
        (day, change),
    )


def _job(row: sqlite3.Row) -> Job:
    return Job(**{field.name: row[field.name] for field in fields(Job)})


def _explanation(row: sqlite3.Row) -> Explanation:
    stored = {field.name: row[field.name] for field in fields(Explanation)}
    stored["reason"] = row["reason"] or ""
    stored["findings"] = _FINDINGS.validate_json(row["findings"] or "[]")
    stored["format_ok"] = None if row["format_ok"] is None else bool(row["format_ok"])
    return Explanation(**stored)
