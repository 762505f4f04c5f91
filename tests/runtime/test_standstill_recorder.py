"""What a stop has taught is on disk, and what a failing disk refuses is told."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.records import MachineState, Score
from edge_monitor.runtime import standstill_recorder
from edge_monitor.runtime.standstill_recorder import StandstillRecorder
from tests.runtime.parts import rows

if TYPE_CHECKING:
    import pytest

    from edge_monitor.store.store import Store

SCORE = Score("pump", 0.5, 1.0, 2, (), 0.0, 10.0, -30.0)


def test_a_standstill_is_kept_with_the_generation_that_scored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two generations the one whose score ended the stop; a window that taught nothing writes nothing."""
    insert = (
        "INSERT INTO generations (machine, number, created_ms, bundle_hash, metric, normalization, k, threshold,"
        " calibration, reason) VALUES ('pump', ?, 1, 'cd', 'euclidean', 'none', 4, 2.5, '{}', 'enroll')"
    )
    store.commit(lambda connection: connection.executemany(insert, [(1,), (2,)]))
    told: list[str] = []
    recorder = StandstillRecorder(store, told.append)
    recorder.add(WindowResult("pump", MachineState.NORMAL, 10.0, "", score=SCORE, standing_dbfs=-72.5))
    recorder.add(WindowResult("pump", MachineState.NORMAL, 10.0, "", score=SCORE))
    store.commit(lambda _: None)  # what was submitted before is committed
    kept = "SELECT number, standing_dbfs FROM generations ORDER BY number"
    assert rows(store, kept) == [(1, None), (2, -72.5)]

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(standstill_recorder, "set_standing", refuse)
    recorder.add(WindowResult("pump", MachineState.NORMAL, 20.0, "", score=SCORE, standing_dbfs=-80.0))
    store.commit(lambda _: None)
    assert rows(store, kept) == [(1, None), (2, -72.5)]
    assert told == ["", "a standstill could not be written: database or disk is full"]
