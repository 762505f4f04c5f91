"""A database with rows in it, to be damaged."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor.store import database

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["stored"]


@pytest.fixture
def stored(tmp_path: Path, enrolled_state: Path) -> Path:
    """Return a database that knows the healthy pump and has 40 messages to deliver."""
    path = tmp_path / database.FILE_NAME
    shutil.copy(enrolled_state / database.FILE_NAME, path)
    with closing(database.connect(path)) as connection, database.transaction(connection):
        for seq in range(50):
            connection.execute(
                "INSERT INTO outbox (topic, alarm_id, created_ms, payload, seq) VALUES ('t', 'a', 0, ?, ?)",
                (bytes([seq]) * 2000, seq),
            )
        connection.execute("DELETE FROM outbox WHERE seq >= 40")
    return path
