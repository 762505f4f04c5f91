"""Salvage: what can be read of a damaged database's rows, saved into a new one where all fits together again."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor import clock, database

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = tuple[object, ...]

_HEADER_BYTES = 100
_VERSION_AT = slice(60, 64)  # of the header: `user_version`
_PAGE_BYTES = 4096  # of every database of this program
_VERSIONS = range(database.SCHEMA_VERSION, 0, -1)  # the newest first
_STEPS = 5000  # rows tried one by one behind an unreadable one; then in ever larger steps


@dataclass(frozen=True, slots=True)
class Readable:
    """A damaged database as far as it can be read."""

    connection: sqlite3.Connection
    version: int  # newest schema of which it has all tables and columns; of an unreadable one: the newest
    guessed: bool  # its schema is another database's: a newer schema's tables may have been there


def in_memory(image: bytes = b"") -> sqlite3.Connection:
    """Return an image, the bytes of a file without a log, as a database in memory; without one an empty database."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if image:
        connection.deserialize(image[:18] + b"\x01\x01" + image[20:])  # there is no log beside it
    return connection


@contextmanager
def readable(image: bytes) -> Iterator[Readable]:
    """Open an image for the body: a damaged header, first page or schema is taken from a sound database."""
    for mended, guessed in _mended(image):
        with closing(in_memory(mended)) as connection:
            version = _version(connection)
            if version:
                yield Readable(connection, version, guessed=guessed)
                return
    with closing(in_memory(_with(image, _schema_pages(database.SCHEMA_VERSION)[0]))) as connection:
        yield Readable(connection, database.SCHEMA_VERSION, guessed=True)


def _mended(image: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield an image with ever more of it from sound databases, and whether its schema is guessed by that."""
    yield _with(image, _schema_pages(database.SCHEMA_VERSION)[0][:_HEADER_BYTES]), False
    for version in _VERSIONS:
        yield _with(image, _schema_pages(version)[0]), True
    told = int.from_bytes(image[_VERSION_AT], "big")
    for version in (told,) if told in _VERSIONS else _VERSIONS:
        pages = _schema_pages(version)  # some page is in its place, so that the tables must be too
        if any(page[_HEADER_BYTES:] == image[at + _HEADER_BYTES : at + _PAGE_BYTES] for at, page in pages.items()):
            whole = bytearray(image)
            for at, page in pages.items():
                whole[at : at + _PAGE_BYTES] = page
            yield _with(bytes(whole), pages[0]), True


def _with(image: bytes, head: bytes) -> bytes:
    """Return an image that begins like a sound database, with its own size and no free pages."""
    pages = (len(image) // _PAGE_BYTES).to_bytes(4, "big")
    return head[:28] + pages + bytes(8) + head[40:] + image[len(head) :]


def _schema_pages(version: int) -> dict[int, bytes]:
    """Return what a sound database without rows lists its tables on, by position in the file."""
    with closing(in_memory()) as model:
        database.prepare(model, "memory", version=version)
        roots = {row[0] for row in model.execute("SELECT rootpage FROM sqlite_schema")}
        whole = model.serialize()
    positions = range(0, len(whole), _PAGE_BYTES)
    return {at: whole[at : at + _PAGE_BYTES] for at in positions if at // _PAGE_BYTES + 1 not in roots}


def _version(connection: sqlite3.Connection) -> int:
    """Return the newest schema that a database has all of; 0 when not even the first, or nothing can be read."""
    with suppress(sqlite3.Error):
        found = _columns(connection)
        for version in _VERSIONS:
            if all(names <= found.get(table, set()) for table, names in _columns_of(version).items()):
                return version
    return 0


def _columns(connection: sqlite3.Connection) -> dict[str, set[str]]:
    listed = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    tables = [row[0] for row in connection.execute(listed)]
    return {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}


def _columns_of(version: int) -> dict[str, set[str]]:
    with closing(in_memory()) as model:
        database.prepare(model, "memory", version=version)
        return _columns(model)


# --- rows -----------------------------------------------------------------------------------------------------------


def save(source: Readable, target: sqlite3.Connection) -> tuple[int, tuple[str, ...]]:
    """Copy what can be read of every table; return how many rows, and the tables of which some were lost.

    An older schema is copied as it is and brought up to date then, as an undamaged database would be.
    """
    database.prepare(target, "the rebuilt database", version=source.version)
    tables = sorted(_columns(target))
    incomplete = set(_columns_of(database.SCHEMA_VERSION)) - set(tables) if source.guessed else set()
    target.execute("PRAGMA foreign_keys=OFF")
    with database.transaction(target):
        incomplete |= {table for table in tables if not _copy(source.connection, target, table)}
        incomplete |= _mend(source.connection, target)
        rows = sum(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)  # noqa: S608 - the schema's own names
        database.add_to_counter(target, "storage_rebuilt", 1)
    database.prepare(target, "the rebuilt database")
    return rows, tuple(sorted(incomplete))


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> bool:
    """Copy the rows of a table; return whether all were there."""
    about = target.execute(f"PRAGMA table_info({table})").fetchall()
    columns = ", ".join(row[1] for row in about)
    [(sql,)] = target.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
    keyed = "WITHOUT ROWID" in sql
    if keyed:
        key = [row[1] for row in sorted(about, key=lambda row: row[5]) if row[5]]
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
INSERT INTO recordings (id, machine, name, sha256, seconds, added_ms)
  SELECT recording_id, machine, 'recording ' || recording_id || ', name lost', 'lost-' || recording_id, max(start_s), 0
  FROM normals WHERE recording_id NOT IN (SELECT id FROM recordings) GROUP BY recording_id
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
_COUNTERS = """
INSERT OR REPLACE INTO counters (name, value)
  SELECT 'outbox_due', count(*) FROM outbox WHERE parked_reason IS NULL
  UNION ALL SELECT 'outbox_due_explanations', count(*) FROM outbox
    WHERE parked_reason IS NULL AND substr(topic, -12) = '/explanation'
  UNION ALL SELECT 'outbox_held', count(*) FROM outbox WHERE parked_reason IS NOT NULL
  UNION ALL SELECT 'outbox_bytes', coalesce(sum(length(payload)), 0) FROM outbox
"""


def _mend(source: sqlite3.Connection, target: sqlite3.Connection) -> set[str]:
    """Make what was saved fit together again; return the tables that lost rows by it."""
    target.execute(_NAMELESS_RECORDINGS)
    lost = _drop_orphans(target)
    if target.execute(_TOO_SMALL).rowcount:  # a generation of fewer than k + 1 normals cannot score
        lost |= {"generations"} | _drop_orphans(target)
    target.execute(_NEWEST_IS_ACTIVE)
    target.execute(_COUNTERS)
    try:
        row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        last = 0 if row is None else int(row[0])
    except (sqlite3.Error, TypeError, ValueError):
        last = clock.now().wall_ms  # more ids than were ever given
    largest = target.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()[0]
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
    target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (max(last, largest),))
    return lost


def _drop_orphans(target: sqlite3.Connection) -> set[str]:
    """Delete rows whose parent is lost, and theirs in turn; return of which tables. No foreign key may be NULL."""
    lost: set[str] = set()
    while orphans := {row[0] for row in target.execute("PRAGMA foreign_key_check")}:
        lost |= orphans
        for table in orphans:
            parents: dict[tuple[int, str], list[str]] = {}
            for number, _, parent, own, theirs, *_ in target.execute(f"PRAGMA foreign_key_list({table})"):
                parents.setdefault((number, parent), []).append(f"p.{theirs} = {table}.{own}")
            for (_, parent), pairs in parents.items():
                same = " AND ".join(pairs)
                target.execute(f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE {same})")  # noqa: S608 - as above
    return lost
