"""Alarms as rows: which of the windows kept with an alarm raised it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.alarm import history
from edge_monitor.alarm.history import AnomalousWindow
from edge_monitor.alarm.long_memory import Remembered
from edge_monitor.alarm.state_machine import Restored
from edge_monitor.config.machine import MachineSettings
from edge_monitor.pipeline import score_minutes
from edge_monitor.records import AlarmEvent, Condition, Embedding, Episode, EventKind, Score
from edge_monitor.store import database
from edge_monitor.store.store import Store

if TYPE_CHECKING:
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


def changed(event: AlarmEvent) -> AlarmEvent:
    """Return an event like it that begins an episode, b0."""
    return replace(event, alarm_id="b0", machine="fan", kind=EventKind.CHANGED, seq=-1, episode=Episode(0, 1))


def restored(connection: sqlite3.Connection, machine: str) -> Restored:
    """Return what is restored of a machine at 10 s of wall clock, with a cooldown of 20 s."""
    return history.restore(connection, machine, cooldown_s=20.0, wall_ms=10_000)


def test_each_level_is_restored_as_it_was(connection: sqlite3.Connection) -> None:
    """Changed, alarm, growing alarm: id, both sequences, since when, and what it grew from."""
    alarm = restored(connection, "pump").active
    assert alarm is not None
    assert (alarm.raised, alarm.episode, alarm.condition) == (True, None, Condition.ALARM)
    first = changed(alarm)
    history.record(connection, first)
    again = restored(connection, "fan").active
    assert again is not None
    assert (again.kind, again.seq, again.episode, again.condition) == (
        EventKind.CHANGED,
        -1,
        Episode(0, 1),
        Condition.CHANGED,
    )
    start = replace(first, kind=EventKind.START, seq=0, since_ms=5, at_ms=5, episode=Episode(1, 1))
    history.record(connection, start)
    history.record(connection, replace(start, kind=EventKind.UPDATE, seq=1, first_ratio=1.5, growing=True))
    again = restored(connection, "fan").active
    assert again is not None
    assert (again.seq, again.since_ms, again.first_ratio, again.condition) == (1, 5, 1.5, Condition.GROWING)
    assert again.episode == Episode(1, 1)
    [row] = history.listed(connection, machine="fan")
    assert (row.kind, row.started_ms, row.raised_ms, row.growing, row.last_seq) == ("changed", 1, 5, True, 1)
    assert history.listed(connection, machine="pump")[0].kind == "alarm"


def test_the_end_of_an_episode_that_was_no_alarm_begins_no_cooldown(connection: sqlite3.Connection) -> None:
    """The end of an alarm does."""
    alarm = restored(connection, "pump").active
    assert alarm is not None
    history.record(connection, first := changed(alarm))
    history.record(connection, replace(first, kind=EventKind.END, at_ms=9_000, episode=Episode(1, 1)))
    history.record(connection, replace(alarm, kind=EventKind.END, at_ms=9_000, seq=1))
    assert restored(connection, "fan") == Restored()
    assert restored(connection, "pump").cooldown_left_s == 19.0


def test_an_alarm_of_schema_8_goes_on_as_an_alarm(tmp_path: Path) -> None:
    """It was raised when it started, has no episode, and no minute of that schema says anything of a low line."""
    pump = MachineSettings.model_validate({"name": "pump", "source": {"kind": "simulator"}})
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as connection:
        database.prepare(connection, "old", version=8)
        connection.execute(
            "INSERT INTO alarms (alarm_id, machine, started_ms, last_seq, peak_score, peak_ratio, threshold,"
            " generation, level_dbfs, window_start_s, window_end_s, neighbours)"
            " VALUES ('a0', 'pump', 7, 3, 2, 2, 1, 1, -20, 0, 10, '[]')"
        )
        connection.execute("INSERT INTO score_minutes VALUES ('pump', 60000, 60, 0.5, 0.9, 1.0, -20.0, 0)")
        database.prepare(connection, "old")
        active = restored(connection, "pump").active
        assert active is not None
        assert (active.seq, active.since_ms, active.raised, active.episode) == (3, 7, True, None)
        [row] = history.listed(connection)
        assert (row.kind, row.raised_ms) == ("alarm", 7)
        assert score_minutes.remembered(connection, pump, 10.0, 70_000) == Remembered()


def test_minutes_remember_what_lay_above_the_line_of_the_last_generation(connection: sqlite3.Connection) -> None:
    """Written in parts; another generation's windows are left behind, and what is too old is not read."""
    pump = MachineSettings.model_validate(
        {"name": "pump", "source": {"kind": "simulator"}, "alarm": {"changed_after_s": 60, "alarm_after_s": 120}}
    )
    minutes = score_minutes.ScoreMinutes()
    heard = [
        (1, 0, True),
        (2, 60, True),
        (2, 70, False),
        (2, 80, None),
        (2, 130, True),
        (2, 140, True),
        (2, 150, False),
    ]
    for generation, at_s, above in heard:
        value = 0.75 if above else 0.25
        minutes.add_score(
            Score("pump", value, 1.0, generation, (), 0.0, 10.0, -20.0, low_line=0.5), at_s * 1000, above=above
        )
        score_minutes.write(connection, minutes.take())
    told = score_minutes.remembered(connection, pump, 10.0, 180_000)
    assert told.generation == 2
    assert [(each.end_s, each.above) for each in told.windows] == [
        (-60.0, False),
        (-60.0, True),
        (0.0, False),
        (0.0, True),
        (0.0, True),
    ]
    assert [round(each.times_line, 2) for each in told.windows] == [0.83, 0.83, 1.17, 1.17, 1.17]
    assert score_minutes.remembered(connection, pump, 10.0, 10_000_000).windows == ()


def test_minutes_from_before_the_clock_was_put_back_are_the_older_ones(connection: sqlite3.Connection) -> None:
    """A day ahead it was when the machine had changed; since then it has sounded as usual."""
    pump = MachineSettings.model_validate(
        {"name": "pump", "source": {"kind": "simulator"}, "alarm": {"changed_after_s": 60, "alarm_after_s": 120}}
    )
    minutes = score_minutes.ScoreMinutes()
    for first_ms, above in ((86_400_000, True), (0, False)):
        for place in range(9):
            score = Score("pump", 0.75 if above else 0.25, 1.0, 1, (), 0.0, 10.0, -20.0, low_line=0.5)
            minutes.add_score(score, first_ms + 10_000 * place, above=above)
    score_minutes.write(connection, minutes.take())
    told = score_minutes.remembered(connection, pump, 10.0, 95_000).windows
    assert [each.above for each in told[-12:]] == [True] * 3 + [False] * 9
    assert [each.end_s for each in told] == sorted(each.end_s for each in told)
    unset = score_minutes.remembered(connection, pump, 10.0, -600_000).windows  # all of them lie in the future
    assert [each.above for each in unset[-9:]] == [True] * 9
