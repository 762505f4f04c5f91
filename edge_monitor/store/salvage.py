"""Salvage: what can be read of a damaged database's rows, saved into a new one where all fits together again."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.store import database
from edge_monitor.store.counters import add_to_counter, continue_outbox_ids, count_outbox
from edge_monitor.store.log_file import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = tuple[object, ...]

_HEADER_BYTES = 100
_VERSION_AT = slice(60, 64)  # of the header: `user_version`
_STEPS = 5000  # rows tried one by one behind an unreadable one; then in ever larger steps


@dataclass(frozen=True, slots=True)
class Readable:
    """A damaged database as far as it can be read."""

    connection: sqlite3.Connection
    version: int  # schema of which it has all tables and columns
    unknown: frozenset[str]  # tables of newer schemas that it may have had too


@dataclass(frozen=True, slots=True)
class _Model:
    """A sound database of one schema, without rows."""

    version: int
    columns: frozenset[tuple[str, str]]  # (table, column) of all tables
    pages: dict[int, bytes]  # on which they are listed, by position in the file

    @property
    def tables(self) -> frozenset[str]:
        """Return the names of all tables."""
        return frozenset(table for table, _ in self.columns)


def in_memory(image: bytes = b"") -> sqlite3.Connection:
    """Return an image, the bytes of a file without a log, as a database in memory; without one an empty database."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if image:
        connection.deserialize(image[:18] + b"\x01\x01" + image[20:])  # there is no log beside it
    return connection


@contextmanager
def readable(image: bytes) -> Iterator[Readable]:
    """Open an image for the body: a damaged header or schema is taken from a sound database."""
    models = [_model(version) for version in range(database.SCHEMA_VERSION, 0, -1)]
    newest = models[0]
    for head in (newest.pages[0][:_HEADER_BYTES], *(model.pages[0] for model in models)):
        with closing(in_memory(_with(image, {0: head}))) as connection:
            found = _columns(connection)
            model = next((each for each in models if each.columns <= found), None)
            if model is not None:
                guessed = len(head) > _HEADER_BYTES
                yield Readable(connection, model.version, newest.tables - model.tables if guessed else frozenset())
                return
    told = int.from_bytes(image[_VERSION_AT], "big")
    model = max(models, key=lambda each: (_in_place(each, image), each.version == told, each.version))
    parts = model.pages if _in_place(model, image) else {0: model.pages[0]}  # if one is in place, the tables are too
    with closing(in_memory(_with(image, parts))) as connection:
        yield Readable(connection, model.version, newest.tables - model.tables)


def _with(image: bytes, parts: dict[int, bytes]) -> bytes:
    """Return an image with parts of a sound database, its header among them, but its own size and no free pages."""
    mended = bytearray(image)
    for at, part in parts.items():
        mended[at : at + len(part)] = part
    mended[28:40] = (len(image) // PAGE_BYTES).to_bytes(4, "big") + bytes(8)
    return bytes(mended)


def _in_place(model: _Model, image: bytes) -> int:
    """Return how many pages of a schema an image has where a sound database has them, headers aside."""
    return sum(image[at + _HEADER_BYTES : at + PAGE_BYTES] == page[_HEADER_BYTES:] for at, page in model.pages.items())


def _model(version: int) -> _Model:
    with closing(in_memory()) as connection:
        database.prepare(connection, "memory", version=version)
        roots = {row[0] for row in connection.execute("SELECT rootpage FROM sqlite_schema")}
        whole, columns = connection.serialize(), _columns(connection)
    listed = (at for at in range(0, len(whole), PAGE_BYTES) if at // PAGE_BYTES + 1 not in roots)
    return _Model(version, columns, {at: whole[at : at + PAGE_BYTES] for at in listed})


def _columns(connection: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    """Return (table, column) of all tables; nothing of a database that cannot be read."""
    listed = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    try:
        return frozenset((row[0], row[1]) for row in connection.execute(f"{listed} AND t.name NOT LIKE 'sqlite%'"))
    except sqlite3.Error:
        return frozenset()


# --- rows -----------------------------------------------------------------------------------------------------------


def save(source: Readable, target: sqlite3.Connection) -> tuple[int, tuple[str, ...]]:
    """Copy what can be read of every table; return how many rows, and the tables of which some were lost.

    An older schema is copied as it is and brought up to date then, as an undamaged database would be.
    """
    database.prepare(target, "the rebuilt database", version=source.version)
    listed = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid"
    tables = [row[0] for row in target.execute(listed)]  # as they were made: parents first
    with database.transaction(target):
        target.execute(_NAMELESS_RECORDINGS)
        incomplete = {table for table in tables if not _copy(source.connection, target, table)}
        target.execute("DROP TRIGGER nameless_recordings")
        if _mend(source.connection, target):
            incomplete.add("generations")
        rows = sum(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)  # noqa: S608 - the schema's own names
        add_to_counter(target, "storage_rebuilt", 1)
    database.prepare(target, "the rebuilt database")
    return rows, tuple(sorted(incomplete | source.unknown))


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> bool:
    """Copy the rows of a table; return whether all were there."""
    about = database.columns(target, table)
    columns = ", ".join(about)
    [(sql,)] = target.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
    keyed = "WITHOUT ROWID" in sql
    if keyed:
        key = sorted((name for name, place in about.items() if place), key=about.__getitem__)
        rows = _from_both_ends(source, f"SELECT {columns} FROM {table}", key)  # noqa: S608 - as above
    else:
        rows = _by_rowid(source, f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid")  # noqa: S608 - as above
    insert = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({', '.join('?' * len(about))})"  # noqa: S608 - as above
    complete = True
    for row in rows:
        try:
            complete &= row is not None and (target.execute(insert, row).rowcount == 1 or keyed)
        except sqlite3.IntegrityError:
            complete = False
    return complete


def _by_rowid(source: sqlite3.Connection, query: str) -> Iterator[Row | None]:
    """Yield every row whose page can be read, and None before each gap; in it the next rowids are tried one by one."""
    last, failures = -1, 0
    while last < 2**62:
        try:
            for rowid, *row in source.execute(query, (last,)):
                last, failures = rowid, 0
                yield tuple(row)
        except sqlite3.Error as error:
            yield None
            if not database.is_damage(error):  # the table itself is not there
                return
            failures += 1
            last += 1 if failures < _STEPS else 2 ** min(failures - _STEPS, 61)
        else:
            return


def _from_both_ends(source: sqlite3.Connection, query: str, key: list[str]) -> Iterator[Row | None]:
    """Yield the rows before the first page that cannot be read, None, and those behind the last one."""
    for direction in ("ASC", "DESC"):
        try:
            yield from map(
                tuple, source.execute(f"{query} ORDER BY {', '.join(f'{name} {direction}' for name in key)}")
            )
        except sqlite3.Error:
            yield None
        else:
            return


# Normals are worth more than the name of the recording they come from.
_NAMELESS_RECORDINGS = """
CREATE TEMP TRIGGER nameless_recordings BEFORE INSERT ON normals BEGIN
  INSERT OR IGNORE INTO recordings (id, machine, name, sha256, seconds, added_ms)
    VALUES (NEW.recording_id, NEW.machine, 'recording ' || NEW.recording_id || ', name lost',
            'lost-' || NEW.recording_id, 0, 0);
  UPDATE recordings SET seconds = max(seconds, NEW.start_s)
    WHERE id = NEW.recording_id AND sha256 = 'lost-' || NEW.recording_id;
END
"""
_TOO_SMALL = """
DELETE FROM generations WHERE k >= (SELECT count(*) FROM generation_members m
  WHERE m.machine = generations.machine AND m.number = generations.number)
"""
_NEWEST_IS_ACTIVE = """
UPDATE generations SET active = 1
  WHERE number = (SELECT max(number) FROM generations g WHERE g.machine = generations.machine)
  AND machine NOT IN (SELECT machine FROM generations WHERE active = 1)
"""


def _mend(source: sqlite3.Connection, target: sqlite3.Connection) -> bool:
    """Make what was saved fit together again; return whether generations went: of k normals or fewer, none scores."""
    if "complete" in database.columns(target, "generations"):
        target.execute("DELETE FROM generations WHERE complete = 0")  # what was just being written
    lost = target.execute(_TOO_SMALL).rowcount > 0
    target.execute(_NEWEST_IS_ACTIVE)
    count_outbox(target)
    try:
        row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        last = 0 if row is None else int(row[0])
    except (sqlite3.Error, TypeError, ValueError):
        last = clock.now().wall_ms  # more ids than were ever given
    continue_outbox_ids(target, last)
    return lost
