"""Alarms as rows: which of the windows kept with an alarm raised it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.alarm import history
from edge_monitor.alarm.history import AnomalousWindow
from edge_monitor.records import AlarmEvent, Embedding, EventKind
from edge_monitor.store import database
from edge_monitor.store.store import Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

LEVEL_DBFS = -30.0


def window(number: int, level_dbfs: float = LEVEL_DBFS) -> AnomalousWindow:
    """Return the alarm's window of that number, which its vector names."""
    return AnomalousWindow(10.0 * number, 10.0 * number + 10.0, level_dbfs, Embedding(np.array([number], "f4"), "ab"))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Lend a database with one alarm, a0, that a window of -30 dBFS raised."""
    with Store(tmp_path / "edge-monitor.db"):
        pass  # makes the tables
    event = AlarmEvent(
        machine="pump",
        alarm_id="a0",
        seq=0,
        kind=EventKind.START,
        at_s=50.0,
        at_ms=1,
        since_ms=1,
        score=2.0,
        peak_score=2.0,
        peak_ratio=2.0,
        threshold=1.0,
        generation=1,
        level_dbfs=LEVEL_DBFS,
        neighbours=(),
        window_start_s=40.0,
        window_end_s=50.0,
        reason="",
    )
    with closing(database.connect(tmp_path / "edge-monitor.db")) as connection:
        history.record(connection, event)
        yield connection


def test_the_window_that_raised_an_alarm_is_known_among_windows_of_one_level(connection: sqlite3.Connection) -> None:
    """It is the last of those that confirmed the start, whatever the levels of the others; all are listed by age."""
    history.add_windows(connection, "a0", [window(2), window(3), window(4)])
    history.add_windows(connection, "a0", [window(5)])
    raising = history.raising_window(connection, "a0")
    assert raising is not None
    assert raising.vector.tolist() == [4.0]
    assert [each.vector.tolist() for _, each in history.windows_of(connection, "a0")] == [[2.0], [3.0], [4.0], [5.0]]


def test_in_rows_of_an_earlier_version_the_level_tells(connection: sqlite3.Connection) -> None:
    """It counted the windows from 0 on."""
    for number, level_dbfs in enumerate((-20.0, LEVEL_DBFS, -40.0)):
        connection.execute(
            "INSERT INTO alarm_windows VALUES ('a0', ?, ?, 'ab', ?)",
            (number, level_dbfs, np.array([number], "<f4").tobytes()),
        )
    raising = history.raising_window(connection, "a0")
    assert raising is not None
    assert raising.vector.tolist() == [1.0]


def test_an_alarm_without_windows_has_none_that_raised_it(connection: sqlite3.Connection) -> None:
    """As one whose windows were forgotten."""
    assert history.raising_window(connection, "a0") is None


def test_no_more_windows_are_kept_than_are_learnt(connection: sqlite3.Connection) -> None:
    """The first twenty, however many an alarm has."""
    for number in range(30):
        history.add_windows(connection, "a0", [window(number)])
    assert len(history.windows_of(connection, "a0")) == history.MAX_WINDOWS == 20
