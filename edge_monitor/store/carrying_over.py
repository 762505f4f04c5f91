"""What goes from the database that is replaced into the one that replaces it: what the plant was promised."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.errors import StorageError
from edge_monitor.store import database
from edge_monitor.store.counters import continue_outbox_ids, count_outbox

if TYPE_CHECKING:
    from pathlib import Path

REASON = "another database was restored"  # the end of an alarm that the replaced database did not know

# Alarms that go on, and those whose explanation is still owed.
_ACTIVE = "SELECT alarm_id FROM alarms WHERE ended_ms IS NULL"
_OWED = "SELECT alarm_id FROM explanations WHERE finished_ms IS NULL"
# Messages that the replaced database has made: they wait in it, or have been delivered.
_WAITS = "SELECT 1 FROM outbox WHERE topic = ? AND alarm_id = ? AND seq = ?"
_ALERTED = "SELECT 1 FROM alarms WHERE alarm_id = ? AND last_seq >= ?"
_CONDITION_TOLD = "SELECT 1 FROM alarms WHERE alarm_id = ? AND condition_seq >= ?"
_EXPLAINED = "SELECT 1 FROM explanations WHERE alarm_id = ? AND seq = ? AND finished_ms IS NOT NULL"
_MESSAGE = ("topic", "payload", "alarm_id", "seq", "created_ms", "parked_reason")


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """How much went over."""

    messages: int  # that wait for the broker, or that it refused
    alarms: int  # that go on, ended meanwhile, or still wait for an explanation


def carry_over(replaced: Path, restored: sqlite3.Connection) -> CarriedOver | None:
    """Bring what was promised since a backup was made into the database that was restored from it, in one transaction.

    Messages that wait in the replaced database follow those of the backup; of the backup's, those go that it has
    delivered since. What it knows of an alarm, an inhibition or a loss is newer than what the backup says. None when it
    cannot be read: then nothing is carried over, and the backup's messages are sent, some perhaps again.
    The caller holds the lock. Raises StorageError and sqlite3.Error when the restored one cannot be written.
    """
    with database.transaction(restored):
        try:
            with closing(database.connect(replaced, read_only=True)) as source:
                carried = _carry(source, restored)
        except (sqlite3.DatabaseError, StorageError):
            restored.execute("ROLLBACK")
            restored.execute("BEGIN IMMEDIATE")
            carried = None
        count_outbox(restored)
    return carried


def _carry(source: sqlite3.Connection, target: sqlite3.Connection) -> CarriedOver:
    ids = sorted(_open_alarms(source) | _open_alarms(target))
    alarms = sum(_carry_alarm(source, target, alarm_id) for alarm_id in ids)
    query = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
    continue_outbox_ids(
        target, max((int(row[0]) for each in (source, target) for row in each.execute(query)), default=0)
    )
    messages = _carry_messages(source, target)
    target.execute("DELETE FROM inhibitions")
    _copy(source, target, "inhibitions")
    _copy(source, target, "machines")  # whose state the broker may hold
    for table, key, value in (("counters", "name", "value"), ("llm_days", "day", "requests")):
        if not database.columns(source, table):
            continue
        target.executemany(
            f"INSERT INTO {table} ({key}, {value}) VALUES (?, ?)"  # noqa: S608 - names of this file
            f" ON CONFLICT ({key}) DO UPDATE SET {value} = max({value}, excluded.{value})",
            map(tuple, source.execute(f"SELECT {key}, {value} FROM {table}")),  # noqa: S608 - as above
        )
    return CarriedOver(messages, alarms)


def _open_alarms(connection: sqlite3.Connection) -> set[str]:
    queries = (_ACTIVE, _OWED) if database.columns(connection, "explanations") else (_ACTIVE,)
    return {row[0] for query in queries for row in connection.execute(query)}


def _carry_messages(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    for row_id, *key in target.execute("SELECT id, topic, alarm_id, seq FROM outbox").fetchall():
        if _made(source, *key):
            target.execute("DELETE FROM outbox WHERE id = ?", (row_id,))
    before = target.total_changes
    target.executemany(
        f"INSERT INTO outbox ({', '.join(_MESSAGE)}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - names of this file
        map(tuple, source.execute(f"SELECT {', '.join(_MESSAGE)} FROM outbox ORDER BY id")),  # noqa: S608 - as above
    )
    return target.total_changes - before


def _made(source: sqlite3.Connection, topic: str, alarm_id: str, seq: int) -> bool:
    """Return whether the replaced database has made a message: then it waits there, or need not be sent any more."""
    if source.execute(_WAITS, (topic, alarm_id, seq)).fetchone():
        return True
    if topic.endswith("/condition"):
        known = "condition_seq" in database.columns(source, "alarms")  # not in an older schema
        return known and source.execute(_CONDITION_TOLD, (alarm_id, seq)).fetchone() is not None
    if not topic.endswith("/explanation"):
        return source.execute(_ALERTED, (alarm_id, seq)).fetchone() is not None
    known = bool(database.columns(source, "explanations"))  # not to an older schema
    return known and source.execute(_EXPLAINED, (alarm_id, seq)).fetchone() is not None


def _carry_alarm(source: sqlite3.Connection, target: sqlite3.Connection, alarm_id: str) -> bool:
    """Have an alarm as the replaced database has it, unless the backup knows more; return whether it is so."""
    query = "SELECT * FROM alarms WHERE alarm_id = ?"
    row, there = (each.execute(query, (alarm_id,)).fetchone() for each in (source, target))
    if row is None or (there is not None and _told(there) > _told(row)):
        return False
    if row["ended_ms"] is None:  # a machine has one active alarm at a time
        target.execute(
            "UPDATE alarms SET ended_ms = ?, end_reason = ? WHERE machine = ? AND ended_ms IS NULL AND alarm_id <> ?",
            (clock.now().wall_ms, REASON, row["machine"], alarm_id),
        )
    target.execute("DELETE FROM alarms WHERE alarm_id = ?", (alarm_id,))  # with its windows and explanations
    for table in ("alarms", "alarm_windows", "explanations"):
        _copy(source, target, table, alarm_id)
    return True


def _told(row: sqlite3.Row) -> int:
    """Return how much was told of an alarm and of the episode it came from."""
    episode = row["condition_seq"] if "condition_seq" in row.keys() else None  # noqa: SIM118 - a Row is no mapping
    return int(row["last_seq"]) + (-1 if episode is None else int(episode))


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str, alarm_id: str | None = None) -> None:
    """Copy rows (of one alarm, or all), in the columns that both have; a row that is there stays."""
    there = database.columns(source, table)
    columns = [name for name in database.columns(target, table) if name in there]
    if not columns:  # an older schema
        return
    listed, marks = ", ".join(columns), ", ".join("?" * len(columns))
    where, values = ("", ()) if alarm_id is None else ("WHERE alarm_id = ?", (alarm_id,))
    rows = source.execute(f"SELECT {listed} FROM {table} {where}", values)  # noqa: S608 - the schema's own names
    target.executemany(f"INSERT OR IGNORE INTO {table} ({listed}) VALUES ({marks})", map(tuple, rows))  # noqa: S608 - as above
