"""A database as its file and its log have it, opened in memory although the pages of its schema may be damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor import database
from edge_monitor.errors import DiskError, StorageError
from edge_monitor.service.wal import read_wal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER_BYTES = 100
_VERSION_AT = slice(60, 64)  # of the header: `user_version`
_PAGE_BYTES = 4096  # of every database of this program
_VERSIONS = range(database.SCHEMA_VERSION, 0, -1)  # the newest first


@dataclass(frozen=True, slots=True)
class Readable:
    """A damaged database as far as it can be read."""

    connection: sqlite3.Connection
    version: int  # newest schema of which it has all tables and columns; of an unreadable one: the newest
    guessed: bool  # its schema is another database's: a newer schema's tables may have been there


def read_image(path: Path) -> bytes:
    """Return the database as its file and its log have it. Raises DiskError."""
    try:
        file = path.read_bytes() if path.exists() else b""
        return read_wal(path.with_name(f"{path.name}-wal")).over(file)
    except OSError as error:
        raise DiskError(f"the database cannot be read: {error.strerror}", where=str(path)) from error


@contextmanager
def readable(image: bytes) -> Iterator[Readable]:
    """Open an image for the body: a damaged header, first page or schema is taken from a sound database."""
    attempts = [(_HEADER_BYTES, database.SCHEMA_VERSION), *((_PAGE_BYTES, version) for version in _VERSIONS)]
    for taken, model in attempts:
        with closing(_with_first_page(image, taken, model)) as connection:
            version = _version(connection)
            if version:
                yield Readable(connection, version, guessed=taken == _PAGE_BYTES)
                return
    version = _version_of_like_schema(image)
    if version:
        with closing(_with_schema(image, version)) as connection:
            yield Readable(connection, version, guessed=True)
        return
    with closing(_with_first_page(image, _PAGE_BYTES, database.SCHEMA_VERSION)) as connection:
        yield Readable(connection, database.SCHEMA_VERSION, guessed=True)


def loaded(image: bytes) -> sqlite3.Connection:
    """Return an image as a database in memory."""
    connection = in_memory()
    connection.deserialize(image[:18] + b"\x01\x01" + image[20:])  # no log: it has been applied
    return connection


def opened(path: Path) -> sqlite3.Connection:
    """Return a database to be looked at: in its place, or as a copy in memory while the disk takes nothing.

    Raises StorageError and its kinds, sqlite3.Error when the copy is damaged.
    """
    try:
        return database.connect(path, read_only=True)
    except DiskError:
        image = read_image(path)
    copy = loaded(image) if image else in_memory()
    try:
        database.prepare(copy, str(path), read_only=True)
    except (StorageError, sqlite3.Error):
        copy.close()  # it is as large as the file
        raise
    return copy


def in_memory() -> sqlite3.Connection:
    """Return an empty database in memory."""
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def columns(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the columns of every table. Raises sqlite3.Error."""
    listed = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    tables = [row[0] for row in connection.execute(listed)]
    return {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}


def columns_of(version: int) -> dict[str, set[str]]:
    """Return the columns of every table of a schema."""
    with closing(_model(version)) as model:
        return columns(model)


def _version(connection: sqlite3.Connection) -> int:
    """Return the newest schema that a database has all of; 0 when not even the first, or nothing can be read."""
    with suppress(sqlite3.Error):
        found = columns(connection)
        for version in _VERSIONS:
            wanted = columns_of(version)
            if all(wanted[table] <= found.get(table, set()) for table in wanted):
                return version
    return 0


def _with_first_page(image: bytes, taken: int, version: int) -> sqlite3.Connection:
    """Return an image whose first bytes are those of a sound database of this schema."""
    with closing(_model(version)) as model:
        head = bytearray(model.serialize()[:taken])
    head[28:32] = (len(image) // _PAGE_BYTES).to_bytes(4, "big")  # pages
    head[32:40] = bytes(8)  # no free pages are known
    return loaded(bytes(head) + image[taken:])


def _version_of_like_schema(image: bytes) -> int:
    """Return of which schema version some page is in its place, so that the tables must be too; 0 of none."""
    told = int.from_bytes(image[_VERSION_AT], "big")
    for version in (told,) if told in _VERSIONS else _VERSIONS:
        pages = _schema_pages(version)
        if any(page[_HEADER_BYTES:] == image[at + _HEADER_BYTES : at + _PAGE_BYTES] for at, page in pages.items()):
            return version
    return 0


def _with_schema(image: bytes, version: int) -> sqlite3.Connection:
    """Return an image whose tables are listed as in a sound database of this schema."""
    mended = bytearray(image)
    for at, page in _schema_pages(version).items():
        mended[at : at + len(page)] = page
    return _with_first_page(bytes(mended), _PAGE_BYTES, version)


def _schema_pages(version: int) -> dict[int, bytes]:
    """Return what a sound database without rows lists its tables on, by position in the file."""
    with closing(_model(version)) as model:
        roots = {row[0] for row in model.execute("SELECT rootpage FROM sqlite_schema")}
        whole = model.serialize()
    positions = range(0, len(whole), _PAGE_BYTES)
    return {at: whole[at : at + _PAGE_BYTES] for at in positions if at // _PAGE_BYTES + 1 not in roots}


def _model(version: int) -> sqlite3.Connection:
    connection = in_memory()
    database.prepare(connection, "memory", version=version)
    return connection
