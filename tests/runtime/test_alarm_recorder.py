"""The recorder of alarms by itself, on a real database."""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from edge_monitor.alarm import history
from edge_monitor.records import EventKind
from edge_monitor.runtime import alarm_recorder
from edge_monitor.runtime.alarm_recorder import AlarmRecorder
from edge_monitor.runtime.machine_states import MachineStates
from tests.broker import wait_until
from tests.runtime.parts import FAN, MESSAGES, NODE, PUMP, Plant, alarm, rows

if TYPE_CHECKING:
    from edge_monitor.pipeline.alarm_audio import AlarmAudio
    from edge_monitor.records import AlarmEvent
    from edge_monitor.store.store import Store


@pytest.fixture
def plant() -> Plant:
    """Return what notes what the plant is told."""
    return Plant()


@pytest.fixture
def started() -> list[str]:
    """Return the ids of alarms that are to be explained."""
    return []


@pytest.fixture
def recorder(store: Store, plant: Plant, started: list[str]) -> AlarmRecorder:
    """Return a recorder of two machines' alarms, each to be explained in two ways."""

    def note(event: AlarmEvent, _sound: AlarmAudio | None) -> None:
        started.append(event.alarm_id)

    states = MachineStates(NODE, (PUMP, FAN), plant.set_state)
    return AlarmRecorder(store, states, MESSAGES, plant, ("measured", "combination"), note)


def test_an_alarm_its_explanations_and_its_alert_are_there_together(
    store: Store, recorder: AlarmRecorder, plant: Plant, started: list[str]
) -> None:
    """Once committed its state is published, the publisher woken and the explanation begun; all of it once."""
    recorder.commit(alarm(), None)
    recorder.settle(10.0)
    wait_until(lambda: started == ["alarm-1"], 5.0, "its explanation")
    assert rows(store, "SELECT alarm_id, ended_ms FROM alarms") == [("alarm-1", None)]
    assert rows(store, "SELECT method FROM explanations ORDER BY seq") == [("measured",), ("combination",)]
    assert rows(store, "SELECT topic, seq FROM outbox") == [("edge-monitor/v1/plant/edge/pump/alert", 0)]
    assert plant.said == ["wake"]
    assert [json.loads(each)["alarm_id"] for each in plant.states] == ["alarm-1"]


def test_while_the_disk_fails_alerts_go_out_from_memory_and_are_stored_later(
    store: Store, recorder: AlarmRecorder, plant: Plant, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start and end are published as not persisted, in order; with the disk back both are stored and not said again."""
    record = history.record

    def full(_connection: sqlite3.Connection, _event: AlarmEvent) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(history, "record", full)
    monkeypatch.setattr(alarm_recorder, "RETRY_S", 0.0)
    recorder.commit(alarm(), None)
    wait_until(lambda: len(plant.from_memory) == 1, 5.0, "the alert from memory")
    recorder.commit(alarm(kind=EventKind.END, seq=1), None)
    assert recorder.in_memory == 1
    monkeypatch.setattr(history, "record", record)

    def tried() -> bool:
        recorder.retry()
        return recorder.in_memory == 0

    wait_until(tried, 5.0, "the disk")
    wait_until(lambda: rows(store, "SELECT ended_ms IS NOT NULL FROM alarms") == [(1,)], 5.0, "the alarm's end")
    sent = [json.loads(each) for each in plant.from_memory]
    assert [(each["event"], each["persisted"]) for each in sent] == [("start", 0), ("end", 0)]
    assert rows(store, "SELECT seq FROM outbox ORDER BY id") == [(0,), (1,)]
    assert started == ["alarm-1"]
    assert recorder.not_stored == 0


def test_one_alarm_that_cannot_be_stored_holds_no_other_up(store: Store, recorder: AlarmRecorder, plant: Plant) -> None:
    """Of three that wait together the one that fits no database is counted and published; the others are stored."""
    store.submit(lambda _: wait_until(lambda: len(recorder._waiting) == 3, 5.0, "three that wait"))
    recorder.commit(alarm(1), None)
    recorder.commit(alarm(2), None)  # of the same machine, whose first one goes on
    recorder.commit(alarm(3, "fan"), None)
    recorder.settle(10.0)
    wait_until(lambda: recorder.not_stored == 1, 5.0, "the count")
    assert rows(store, "SELECT alarm_id FROM alarms ORDER BY alarm_id") == [("alarm-1",), ("alarm-3",)]
    assert [json.loads(each)["alarm_id"] for each in plant.from_memory] == ["alarm-2"]
    assert "status" in plant.said


def test_a_write_that_hangs_is_told_though_no_alarm_waits(
    store: Store, recorder: AlarmRecorder, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The states say so while it lasts: whatever is decided next cannot be stored."""
    monkeypatch.setattr(alarm_recorder, "PATIENCE_S", 0.0)
    monkeypatch.setattr(alarm_recorder, "RETRY_S", 0.0)
    goes_on = threading.Event()
    store.submit(lambda _: goes_on.wait(10.0))
    wait_until(lambda: store.writer.busy_since_s is not None, 5.0, "the write")

    def told(state: str) -> bool:
        recorder.retry()
        return [json.loads(each)["state"] for each in plant.states][-1:] == [state]

    wait_until(lambda: told("storage-fault"), 5.0, "the fault")
    assert "the disk has not answered for 10 s" in json.loads(plant.states[-1])["text"]
    goes_on.set()
    wait_until(lambda: told("starting"), 5.0, "that it is over")
