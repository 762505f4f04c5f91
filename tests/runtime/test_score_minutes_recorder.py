"""Minutes of scores that a failing disk refuses are kept for its return; what cannot be kept is counted."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from edge_monitor.pipeline import score_minutes
from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.records import MachineState, Score
from edge_monitor.runtime import alarm_recorder, score_minutes_recorder
from edge_monitor.runtime.score_minutes_recorder import ScoreMinutesRecorder
from tests.broker import wait_until
from tests.explained import inside
from tests.runtime.parts import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from edge_monitor.store.store import Store
    from tests.product import Product

    Make = Callable[..., Product]


def test_refused_minutes_are_written_once_the_disk_is_back(enrolled: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window that was judged while each write of scores failed is in the table in the end, none twice."""
    product = enrolled('{ kind = "simulator", machine = "pump", take = 1, pace = 30 }')
    write = score_minutes.write
    refused: list[list[score_minutes.Row]] = []

    def refuse(connection: sqlite3.Connection, rows: list[score_minutes.Row]) -> None:
        if len(refused) < 5:
            refused.append(rows)
            raise sqlite3.OperationalError("database or disk is full")
        write(connection, rows)

    monkeypatch.setattr(score_minutes, "write", refuse)
    monkeypatch.setattr(score_minutes_recorder, "FLUSH_S", 0.3)
    monkeypatch.setattr(alarm_recorder, "RETRY_S", 60.0)  # no trial write in between
    with inside(product.config) as daemon:
        wait_until(lambda: product.rows("SELECT windows FROM score_minutes"), 30.0, "a minute on disk")
    [pump] = daemon.states.snapshot()
    assert len(refused) == 5
    assert refused[0]
    assert product.rows("SELECT sum(windows) FROM score_minutes") == [(pump["windows"],)]
    assert daemon.minutes.lost == 0


def test_the_oldest_go_when_too_many_are_refused_and_are_counted() -> None:
    """A day of one machine is kept."""
    counted = score_minutes.ScoreMinutes()
    for minute in range(score_minutes.KEPT + 3):
        counted.add_fault("pump", minute * score_minutes.MINUTE_MS)
        counted.give_back(counted.take())
    rows = counted.take()
    assert counted.lost == 3
    assert [row[1] for row in rows] == [minute * score_minutes.MINUTE_MS for minute in range(3, score_minutes.KEPT + 3)]
    assert counted.take() == []


def test_what_the_disk_refuses_is_said_and_written_with_the_next_flush(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window under inhibition is not counted: no alarm was possible, so its absence promises nothing."""
    said: list[str] = []
    recorder = ScoreMinutesRecorder(store, said.append)
    score = Score("pump", 0.5, 1.0, 1, (), 0.0, 10.0, -30.0)
    recorder.add(WindowResult("pump", MachineState.NORMAL, 10.0, "", score=score))
    recorder.add(WindowResult("pump", MachineState.INHIBITED, 11.0, "", score=score))
    with monkeypatch.context() as failing:
        failing.setattr(score_minutes, "write", lambda *_: 1 / 0)
        recorder.flush()
        wait_until(lambda: said, 5.0, "the failure")
    recorder.flush()
    wait_until(lambda: len(said) == 2, 5.0, "the disk's answer")
    assert said == ["scores could not be written: division by zero", ""]
    assert rows(store, "SELECT machine, windows, faults FROM score_minutes") == [("pump", 1, 0)]
    assert recorder.lost == 0
