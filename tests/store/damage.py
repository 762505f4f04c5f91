"""Ways to damage a database, and to look at what became of it."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

from edge_monitor.store import counters, database

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096


def spoil(path: Path, first: int, size: int, seed: int = 0) -> None:
    """Write random bytes into the middle of a file."""
    with path.open("r+b") as file:
        file.seek(first)
        file.write(random.Random(seed).randbytes(size))  # noqa: S311 - any bytes will do


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    with closing(database.connect(path)) as connection:
        return [tuple(row) for row in connection.execute(query)]


def content(path: Path, table: str) -> list[tuple[object, ...]]:
    """Return all rows of a table."""
    return rows(path, f"SELECT * FROM {table}")  # noqa: S608 - tables of the schema


def written_log(path: Path, commits: int) -> bytes:
    """Leave a log of so many commits beside the database, as a killed process does; return it."""
    log = path.with_name(f"{path.name}-wal")
    with closing(database.connect(path)) as connection:
        for number in range(commits):
            counters.add_to_counter(connection, f"c{number}", 1)
        content, file = log.read_bytes(), path.read_bytes()
    log.write_bytes(content)
    path.write_bytes(file)
    return content
