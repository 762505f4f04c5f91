"""The inspection of a foreign database: nothing in it runs before its schema is known to be this program's own."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from edge_monitor.errors import StorageError
from edge_monitor.store import database, deciding
from edge_monitor.store.schema import require_known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Object = tuple[str, str]  # type and name of a schema's object

_LONGEST_BYTES = 4 << 20  # of a row; the longest of this program's, an alarm's explanation, has some 100 kB
_LIMITS = (
    (sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_BYTES),
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000),  # the longest statement of the schema has 1 kB
    (sqlite3.SQLITE_LIMIT_COLUMN, 100),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0),
)
_MOST_OBJECTS = 1000  # of a schema; this program's has some thirty
_LOOK_EVERY = 100_000  # virtual machine instructions between two looks whether to go on
_HINT = "use another backup"


@contextmanager
def open_foreign(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database whose content nobody vouches for: read-only, no log beside it is applied, no function trusted."""
    # Immutable: it is our own copy, which nobody else has open.
    with closing(database.unprepared(path, "ro&immutable=1")) as connection:
        for limit, most in _LIMITS:
            connection.setlimit(limit, most)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA query_only=ON")
        yield connection


def inspect(path: Path, *, cancelled: Callable[[], bool] = lambda: False) -> int:
    """Return the schema version of a database that was found to be one of this program's, whole and usable.

    The schema is read as data and compared object by object before any other statement touches a table; then the file
    is checked, then every value that decides. Rows are read one by one: memory does not grow with the file.
    Raises StorageError, which says what is wrong and where.
    """
    try:
        with open_foreign(path) as connection:
            connection.set_progress_handler(lambda: 1 if cancelled() else 0, _LOOK_EVERY)
            version = require_known(connection, "backup")
            if version < 1:
                raise _refused("not a database of edge-monitor", "its header")
            _compare_schema(connection, version)
            _check(connection)
            deciding.add_functions(connection)
            for table, key, wrong in deciding.broken(connection):
                raise _refused(wrong, _row(table, key))
    except sqlite3.Error as error:
        if database.is_interrupted(error):
            raise StorageError("the check was cancelled", where=str(path)) from error
        raise StorageError(f"the database cannot be used: {error}", where="backup", hint=_HINT) from error
    return version


def _compare_schema(connection: sqlite3.Connection, version: int) -> None:
    """Refuse any object that a fresh database of this version does not have, lacks, or has otherwise."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        database.prepare(fresh, "memory", version=version)
        known = _objects(fresh)
    found = _objects(connection)
    for kind, name in sorted(found.keys() | known.keys(), key=ascii):
        if found.get((kind, name)) == known.get((kind, name)):
            continue
        if (kind, name) not in known:
            wrong = "does not belong into it"
        else:
            wrong = "is missing" if (kind, name) not in found else "is not as this program makes it"
        raise _refused(f"{_word(kind)} {_word(name)} {wrong}", f"schema {version}")


def _objects(connection: sqlite3.Connection) -> dict[Object, tuple[object, object]]:
    """Return the table and the SQL of every object. Two of one name are more than the schema has."""
    query = f"SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT {_MOST_OBJECTS}"  # noqa: S608 - a constant
    objects: dict[Object, tuple[object, object]] = {}
    for kind, name, table, sql in connection.execute(query):
        if (kind, name) in objects:
            raise _refused(f"{_word(kind)} {_word(name)} is there twice", "its schema")
        objects[kind, name] = (table, sql)
    return objects


def _check(connection: sqlite3.Connection) -> None:
    for (found,) in connection.execute("PRAGMA integrity_check(1)"):
        if found != "ok":
            raise _refused(f"damaged: {ascii(found)[1:200]}", "its pages")
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        where = f"{table}, row {'?' if rowid is None else rowid}"
        raise _refused(f"a row leads nowhere: there is no such row of {parent}", where)


def _row(table: str, key: dict[str, object]) -> str:
    """Return a row's name: its table and its key, without anything a terminal would obey."""
    return ", ".join([table, *(f"{name} {_word(value)}" for name, value in key.items())])


def _word(value: object) -> str:
    return value if isinstance(value, str) and deciding.segment(value) else ascii(value)[:80]


def _refused(wrong: str, where: str) -> StorageError:
    return StorageError(wrong, where=f"backup: {where}", hint=_HINT)
