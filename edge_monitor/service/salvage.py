"""What can be read of a database that SQLite cannot use in place: as a copy in memory, or saved into a new file."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor import clock, database
from edge_monitor.durable import sync_folder
from edge_monitor.errors import DiskError
from edge_monitor.memory.distance import K
from edge_monitor.service.image import columns, columns_of, in_memory, loaded, read_image, readable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.service.image import Readable

    Row = tuple[object, ...]

LIMIT_S = 10.0  # for the check of a database that somebody waits for, seconds
_STEPS = 5000  # rows tried one by one behind an unreadable one; then in ever larger steps
_KEPT_DAMAGED = 3  # damaged databases kept for whoever wants to look; the oldest go first


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a damaged database."""

    rows: int  # saved
    incomplete: tuple[str, ...]  # tables of which rows were lost
    kept_as: str  # name of the damaged file, below the state directory

    def __str__(self) -> str:
        """Return one line for a person."""
        lost = f"some were lost of {', '.join(self.incomplete)}" if self.incomplete else "none was found missing"
        return f"the database was damaged and has been rebuilt: {self.rows} rows saved, {lost}; see {self.kept_as}"


def snapshot(path: Path) -> sqlite3.Connection:
    """Return a copy in memory that can be read and not written, for a disk that takes nothing.

    It needs no lock and no room, where SQLite would make files beside the database even to read it. A damaged one is
    read as far as it goes. Takes as much memory as the file. Raises DiskError when the file cannot be read.
    """
    image = read_image(path)
    connection = loaded(image) if image else in_memory()
    try:
        try:
            sound = not image or not check(connection)
        except sqlite3.DatabaseError:
            sound = False
        if not sound:
            connection.close()
            connection = in_memory()
            with readable(image) as source:
                save(source, connection)
        database.prepare(connection, str(path))
        connection.execute("PRAGMA query_only=ON")
    except BaseException:  # whatever ends it, a signal too: the copy is tens of MB that nobody would use
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, *, limit_s: float | None = None) -> str | None:
    """Return what SQLite finds wrong with a database, an empty text when nothing; None when time runs out before.

    `limit_s`: seconds; default: LIMIT_S, as it is at the moment.
    """
    limit_s = LIMIT_S if limit_s is None else limit_s
    end_s = clock.now().monotonic_s + limit_s
    connection.set_progress_handler(lambda: clock.now().monotonic_s > end_s, 100_000)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        connection.set_progress_handler(None, 0)
    return "" if found == ["ok"] else "; ".join(found)


def rebuild(path: Path) -> Tally:
    """Put a new database in the place of a damaged one, with every row that can be read; keep the damaged files.

    Nobody else may have it open for writing. Raises DiskError; then everything is as before.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        _remove(fresh)
        with readable(read_image(path)) as source, closing(database.connect(fresh, version=source.version)) as target:
            rows, incomplete = save(source, target)
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for left in ("-wal", "-shm"):
            fresh.with_name(fresh.name + left).unlink(missing_ok=True)
        fresh.replace(rebuilt(path))  # from here on it counts, also after a crash
        kept = finish(path)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            _remove(fresh)
        raise DiskError(f"the damaged database cannot be rebuilt now: {error}", where=str(path),
                        hint="make room on the disk") from error  # fmt: skip
    return Tally(rows, incomplete, kept)


def rebuilt(path: Path) -> Path:
    """Return where a rebuilt database lies until it has taken the damaged one's place."""
    return path.with_name(f"{path.name}.rebuilt")


def finish(path: Path) -> str:
    """Put a rebuilt database in its place, whatever a crash left of that; return the damaged one's new name."""
    stamp = clock.rfc3339(clock.now().wall_ms).replace(":", "").partition(".")[0]
    damaged = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("-wal", ""):  # the log first: it must never be applied to the new file
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(damaged.with_name(damaged.name + suffix))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    rebuilt(path).rename(path)
    sync_folder(path.parent)
    forget_oldest(path)
    return damaged.name


def set_aside(path: Path) -> str:
    """Keep a copy of a log whose end cannot be used, before SQLite writes over it; return its name. Raises OSError."""
    stamp = clock.rfc3339(clock.now().wall_ms).replace(":", "").partition(".")[0]
    copy = path.with_name(f"{path.name}.damaged-{stamp}")
    copy.write_bytes(path.read_bytes())
    forget_oldest(path)
    return copy.name


def forget_oldest(path: Path) -> None:
    """Keep the newest of the damaged files beside `path`, delete the others."""
    for old in sorted(path.parent.glob(f"{path.name}.damaged-*[!l]"))[:-_KEPT_DAMAGED]:  # not the logs beside them
        _remove(old)


def save(source: Readable, target: sqlite3.Connection) -> tuple[int, tuple[str, ...]]:
    """Copy what can be read of every table; return how many rows, and the tables of which some were lost.

    An older schema is copied as it is and brought up to date then, as an undamaged database would be.
    """
    database.prepare(target, "the rebuilt database", version=source.version)
    tables = sorted(columns(target))
    incomplete = set(columns_of(database.SCHEMA_VERSION)) - set(tables) if source.guessed else set()
    target.execute("PRAGMA foreign_keys=OFF")
    with database.transaction(target):
        for table in tables:
            if not _copy(source.connection, target, table):
                incomplete.add(table)
        incomplete |= _mend(source.connection, target)
        rows = sum(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)  # noqa: S608 - the schema's own names
        database.add_to_counter(target, "storage_rebuilt", 1)
    database.prepare(target, "the rebuilt database")
    return rows, tuple(sorted(incomplete))


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> bool:
    """Copy the rows of a table; return whether all were there."""
    columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    [(sql,)] = target.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
    key = None if "WITHOUT ROWID" in sql else "rowid"
    listed, marks = ", ".join(columns), ", ".join("?" * len(columns))
    primary = [
        row[1] for row in sorted(target.execute(f"PRAGMA table_info({table})"), key=lambda row: row[5]) if row[5]
    ]
    reading = _Reading(source, table, listed, key or primary)
    complete = True
    for row in reading.rows():
        try:
            done = target.execute(f"INSERT OR IGNORE INTO {table} ({listed}) VALUES ({marks})", row).rowcount  # noqa: S608 - the schema's own names
            complete &= done == 1 or key is None  # those without rowid are read from both ends
        except sqlite3.IntegrityError:
            complete = False
    return complete and reading.complete


class _Reading:
    """Reads the rows of one table around what is damaged."""

    def __init__(self, source: sqlite3.Connection, table: str, columns: str, key: str | list[str]) -> None:
        self._source = source
        self._table = table
        self._columns = columns
        self._key = key
        self.complete = True

    def rows(self) -> Iterator[Row]:
        if isinstance(self._key, str):
            yield from self._by_rowid(self._key)
            return
        yield from self._until_damage(self._key, "")
        if not self.complete:
            yield from self._until_damage(self._key, "DESC")

    def _until_damage(self, key: list[str], direction: str) -> Iterator[Row]:
        order = ", ".join(f"{name} {direction}" for name in key)
        try:
            rows = self._source.execute(f"SELECT {self._columns} FROM {self._table} ORDER BY {order}")  # noqa: S608 - the schema's own names
            yield from map(tuple, rows)
        except sqlite3.Error:
            self.complete = False

    def _by_rowid(self, key: str) -> Iterator[Row]:
        """Yield every row whose page can be read: behind an unreadable one, the next rowids are tried one by one."""
        last, failures = -1, 0
        query = f"SELECT {key}, {self._columns} FROM {self._table} WHERE {key} > ? ORDER BY {key}"  # noqa: S608 - as above
        while last < 2**62:
            try:
                for rowid, *row in self._source.execute(query, (last,)):
                    last, failures = rowid, 0
                    yield tuple(row)
            except sqlite3.Error as error:
                self.complete = False
                if not database.is_damage(error):  # the table itself is not there
                    return
                failures += 1
                last += 1 if failures < _STEPS else 2 ** min(failures - _STEPS, 61)
            else:
                return


# Normals are worth more than the name of the recording they come from.
_NAMELESS_RECORDINGS = """
INSERT INTO recordings (id, machine, name, sha256, seconds, added_ms)
  SELECT recording_id, machine, 'recording ' || recording_id || ', name lost', 'lost-' || recording_id, max(start_s), 0
  FROM normals WHERE recording_id NOT IN (SELECT id FROM recordings) GROUP BY recording_id
"""
_STRAY_MEMBERS = """
DELETE FROM generation_members WHERE normal_id NOT IN (SELECT id FROM normals) OR NOT EXISTS
  (SELECT 1 FROM generations g WHERE g.machine = generation_members.machine AND g.number = generation_members.number)
"""


def _mend(source: sqlite3.Connection, target: sqlite3.Connection) -> set[str]:
    """Make what was saved fit together again; return the tables that lost rows by it."""
    target.execute(_NAMELESS_RECORDINGS)
    lost = {row[0] for row in target.execute("PRAGMA foreign_key_check")}
    while orphans := target.execute("PRAGMA foreign_key_check").fetchall():
        for table in {row[0] for row in orphans}:
            if table == "generation_members":
                target.execute(_STRAY_MEMBERS)
                continue
            parent, column = ("recordings", "recording_id") if table == "normals" else ("alarms", "alarm_id")
            own = "id" if table == "normals" else "alarm_id"
            target.execute(f"DELETE FROM {table} WHERE {column} NOT IN (SELECT {own} FROM {parent})")  # noqa: S608 - the schema's own names
    # A generation of fewer than k + 1 normals cannot score; the newest that can takes over from one that was lost.
    gone = target.execute(
        "DELETE FROM generations WHERE (SELECT count(*) FROM generation_members m WHERE m.machine = generations.machine"
        " AND m.number = generations.number) <= ?", (K,)).rowcount  # fmt: skip
    if gone:
        lost.add("generations")
        target.execute(_STRAY_MEMBERS)
    target.execute(
        "UPDATE generations SET active = 1 WHERE number = (SELECT max(number) FROM generations g"
        " WHERE g.machine = generations.machine) AND machine NOT IN (SELECT machine FROM generations WHERE active = 1)"
    )
    # What the outbox's counters say must be what it holds, and its ids must never come again.
    for name, of in (
        ("outbox_due", "SELECT count(*) FROM outbox WHERE parked_reason IS NULL"),
        (
            "outbox_due_explanations",
            "SELECT count(*) FROM outbox WHERE parked_reason IS NULL AND substr(topic, -12) = '/explanation'",
        ),
        ("outbox_held", "SELECT count(*) FROM outbox WHERE parked_reason IS NOT NULL"),
        ("outbox_bytes", "SELECT coalesce(sum(length(payload)), 0) FROM outbox"),
    ):
        target.execute(f"INSERT OR REPLACE INTO counters (name, value) VALUES (?, ({of}))", (name,))  # noqa: S608 - the schema's own names
    try:
        row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        last = 0 if row is None else int(row[0])
    except (sqlite3.Error, TypeError, ValueError):
        last = clock.now().wall_ms  # more than were ever given
    largest = target.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()[0]
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
    target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (max(last, largest),))
    return lost


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
