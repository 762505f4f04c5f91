"""Alarms as rows: written with their outbox row in one commit, read back after a restart."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.alarm.state_machine import Restored
from edge_monitor.errors import StorageError
from edge_monitor.records import AlarmEvent, Embedding, Episode, EventKind, Neighbour

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

# The contract: an inhibition lasts 24 hours at the most, whatever the wall clock says after a step.
MAX_INHIBIT_S = 24 * 3600.0
# Five times the paper's k: a rejected sound then has k neighbours of its own, whichever of its windows comes.
MAX_WINDOWS = 20

_OF_THE_START = ("machine", "alarm_id", "threshold", "generation", "level_dbfs", "window_start_s", "window_end_s")
_ROWS = "SELECT *, (SELECT count(*) FROM alarm_windows w WHERE w.alarm_id = alarms.alarm_id) AS windows FROM alarms"


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """One alarm, or one episode that is none, as it is listed and shown."""

    alarm_id: str
    machine: str
    kind: str  # by which it began: `alarm`, or `changed`, an episode
    started_ms: int
    raised_ms: int | None  # when it became an alarm; None: it has not
    ended_ms: int | None  # None while active
    last_seq: int  # -1: it is no alarm
    peak_score: float
    peak_ratio: float  # highest score / threshold, each with the threshold of its moment
    threshold: float  # at the start
    generation: int
    level_dbfs: float
    growing: bool  # at its last event
    windows: int  # kept with it, disjoint and above the threshold; of an episode, above the low line
    neighbours: tuple[Neighbour, ...]
    evidence: dict[str, str]  # kind -> file name below {state_dir}/evidence
    end_reason: str | None
    rejected_ms: int | None


@dataclass(frozen=True, slots=True)
class AnomalousWindow:
    """A window above the threshold, as it is kept with its alarm."""

    start_s: float  # stream time, seconds
    end_s: float
    level_dbfs: float
    embedding: Embedding


def record(connection: sqlite3.Connection, event: AlarmEvent) -> None:
    """Write an event into the alarm's row, inside the transaction that also writes the outbox row.

    The row keeps the threshold, generation and window of its first event. Raises StorageError for an alarm that never
    began.
    """
    episode = event.episode
    if event.begins:
        stored = asdict(event)
        stored |= {
            "neighbours": json.dumps(stored["neighbours"]),
            "kind": "alarm" if episode is None else "changed",
            "raised_ms": event.since_ms if event.raised else None,
            "condition_seq": None if episode is None else episode.seq,
        }
        connection.execute(
            "INSERT INTO alarms (alarm_id, machine, kind, started_ms, raised_ms, last_seq, condition_seq, peak_score,"
            " peak_ratio, threshold, generation, level_dbfs, window_start_s, window_end_s, neighbours)"
            " VALUES (:alarm_id, :machine, :kind, :since_ms, :raised_ms, :seq, :condition_seq, :peak_score,"
            " :peak_ratio, :threshold, :generation, :level_dbfs, :window_start_s, :window_end_s, :neighbours)",
            stored,
        )
        return
    ended = (event.at_ms, event.reason) if event.kind is EventKind.END else (None, None)
    changed = connection.execute(
        "UPDATE alarms SET last_seq = ?, condition_seq = ?, raised_ms = ?, peak_score = ?, peak_ratio = ?,"
        " first_ratio = ?, growing = ?, ended_ms = ?, end_reason = ? WHERE alarm_id = ?",
        (
            event.seq,
            None if episode is None else episode.seq,
            event.since_ms if event.raised else None,
            event.peak_score,
            event.peak_ratio,
            event.first_ratio,
            event.growing,
            *ended,
            event.alarm_id,
        ),
    )
    if changed.rowcount != 1:
        raise StorageError("an alarm that is not in the database cannot go on", where=event.alarm_id)


def add_windows(connection: sqlite3.Connection, alarm_id: str, windows: Sequence[AnomalousWindow]) -> None:
    """Keep windows of an alarm, oldest first, up to MAX_WINDOWS: enough to learn the sound should it be rejected.

    The first ones are those that confirmed its start: the last of them, which raised it, has the number 0.
    """
    next_number, kept = connection.execute(
        "SELECT max(number) + 1, count(*) FROM alarm_windows WHERE alarm_id = ?", (alarm_id,)
    ).fetchone()
    added = windows[max(0, len(windows) - (MAX_WINDOWS - kept)) :]
    first = 1 - len(added) if next_number is None else next_number
    connection.executemany(
        "INSERT INTO alarm_windows (alarm_id, number, level_dbfs, bundle_hash, vector) VALUES (?, ?, ?, ?, ?)",
        (
            (alarm_id, number, window.level_dbfs, window.embedding.bundle_hash, _stored(window.embedding))
            for number, window in enumerate(added, start=first)
        ),
    )


def windows_of(connection: sqlite3.Connection, alarm_id: str) -> list[tuple[float, Embedding]]:
    """Return level (dBFS) and embedding of the windows kept with an alarm, oldest first."""
    rows = connection.execute("SELECT * FROM alarm_windows WHERE alarm_id = ? ORDER BY number", (alarm_id,))
    return [(row["level_dbfs"], _embedding(row)) for row in rows]


def raising_window(connection: sqlite3.Connection, alarm_id: str) -> Embedding | None:
    """Return the embedding of the window that raised an alarm; None when none was kept.

    Earlier versions counted from the oldest window, 0, on; in their rows the level tells which one it was.
    """
    rows = connection.execute(
        "SELECT w.*, w.level_dbfs = a.level_dbfs AS alike FROM alarm_windows w JOIN alarms a USING (alarm_id)"
        " WHERE alarm_id = ? ORDER BY number",
        (alarm_id,),
    ).fetchall()
    if not rows:
        return None
    counted_from_0 = rows[0]["number"] == 0
    raising = (row for row in rows if (row["alike"] if counted_from_0 else row["number"] == 0))
    return _embedding(next(raising, rows[0]))


def _stored(embedding: Embedding) -> bytes:
    return embedding.vector.astype("<f4").tobytes()


def _embedding(row: sqlite3.Row) -> Embedding:
    return Embedding(np.frombuffer(row["vector"], dtype="<f4").astype(np.float32), row["bundle_hash"])


def restore(connection: sqlite3.Connection, machine: str, *, cooldown_s: float, wall_ms: int) -> Restored:
    """Return what the state machine of `machine` goes on with after a restart.

    What is left of a cooldown or an inhibition is taken from the wall clock and bounded by its full length, and an end
    that lies in the future counts for no cooldown: a clock that jumped suppresses nothing.
    """
    row = connection.execute("SELECT * FROM alarms WHERE machine = ? AND ended_ms IS NULL", (machine,)).fetchone()
    ended_ms = connection.execute(
        "SELECT max(ended_ms) FROM alarms WHERE machine = ? AND ended_ms <= ? AND last_seq >= 0", (machine, wall_ms)
    ).fetchone()[0]
    inhibit = connection.execute("SELECT until_ms, length_s FROM inhibitions WHERE machine = ?", (machine,)).fetchone()
    return Restored(
        active=None if row is None else _last_event(row),
        cooldown_left_s=_left_s(None if ended_ms is None else ended_ms + cooldown_s * 1000, wall_ms, cooldown_s),
        inhibit_left_s=0.0 if inhibit is None else _left_s(inhibit["until_ms"], wall_ms, inhibit["length_s"]),
    )


def _left_s(until_ms: float | None, wall_ms: int, longest_s: float) -> float:
    return 0.0 if until_ms is None else min(max((until_ms - wall_ms) / 1000, 0.0), longest_s)


def _last_event(row: sqlite3.Row) -> AlarmEvent:
    since_ms = row["started_ms"] if row["raised_ms"] is None else row["raised_ms"]
    kind = EventKind.CHANGED if row["last_seq"] < 0 else EventKind.START if row["last_seq"] == 0 else EventKind.UPDATE
    episode = None if row["condition_seq"] is None else Episode(row["condition_seq"], row["started_ms"])
    return AlarmEvent(
        **{name: row[name] for name in _OF_THE_START},
        seq=row["last_seq"],
        kind=kind,
        at_s=0.0,  # stream time starts anew
        at_ms=since_ms,
        since_ms=since_ms,
        score=row["peak_score"],
        peak_score=row["peak_score"],
        peak_ratio=row["peak_ratio"],
        neighbours=_neighbours(row["neighbours"]),
        reason="restored after a restart",
        episode=episode,
        first_ratio=row["first_ratio"],
        growing=bool(row["growing"]),
    )


def _neighbours(text: str) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(**stored) for stored in json.loads(text))


def set_inhibition(connection: sqlite3.Connection, machine: str, until_ms: int | None, length_s: float) -> None:
    """Keep until when (wall clock, milliseconds) a machine is inhibited, and for how long; None ends it."""
    if until_ms is None:
        connection.execute("DELETE FROM inhibitions WHERE machine = ?", (machine,))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO inhibitions (machine, until_ms, length_s) VALUES (?, ?, ?)",
            (machine, until_ms, length_s),
        )


def set_evidence(connection: sqlite3.Connection, alarm_id: str, files: dict[str, str]) -> None:
    """Note which evidence files (kind -> name below {state_dir}/evidence) an alarm has."""
    connection.execute("UPDATE alarms SET evidence = ? WHERE alarm_id = ?", (json.dumps(files), alarm_id))


def mark_rejected(connection: sqlite3.Connection, alarm_id: str, wall_ms: int | None) -> None:
    """Mark an alarm as a false one, or (None) take that back."""
    connection.execute("UPDATE alarms SET rejected_ms = ? WHERE alarm_id = ?", (wall_ms, alarm_id))


def listed(
    connection: sqlite3.Connection,
    *,
    machine: str | None = None,
    since_ms: int = 0,
    active_only: bool = False,
    limit: int = 100,
    offset: int = 0,
) -> list[AlarmRow]:
    """Return alarms, newest first, but for the first `offset`."""
    rows = connection.execute(
        f"{_ROWS} WHERE (? IS NULL OR machine = ?) AND started_ms >= ? AND (NOT ? OR ended_ms IS NULL)"
        " ORDER BY started_ms DESC, rowid DESC LIMIT ? OFFSET ?",
        (machine, machine, since_ms, active_only, limit, offset),
    )
    return [_row(row) for row in rows]


def find(connection: sqlite3.Connection, alarm_id: str) -> AlarmRow:
    """Return the alarm whose id is, or uniquely begins with, `alarm_id`. Raises StorageError otherwise."""
    rows: list[Any] = connection.execute(
        f"{_ROWS} WHERE substr(alarm_id, 1, length(?)) = ? LIMIT 2", (alarm_id, alarm_id)
    ).fetchall()
    if len(rows) != 1 or not alarm_id:
        problem = "several alarms begin with that id" if len(rows) > 1 and alarm_id else "no such alarm"
        raise StorageError(problem, where=alarm_id, hint="`edge-monitor alarms list` shows them")
    return _row(rows[0])


def _row(row: sqlite3.Row) -> AlarmRow:
    stored = {field.name: row[field.name] for field in fields(AlarmRow)}
    stored["growing"] = bool(row["growing"])
    if row["last_seq"] >= 0 and row["raised_ms"] is None:  # carried over from a database of schema 8 or before
        stored["raised_ms"] = row["started_ms"]
    stored["neighbours"] = _neighbours(row["neighbours"])
    stored["evidence"] = json.loads(row["evidence"] or "{}")
    return AlarmRow(**stored)
