"""What the plant sees of a machine's state, and when."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_monitor.node.verdict import Facts
from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.records import EventKind, MachineState
from edge_monitor.runtime.machine_states import MachineStates
from tests.node.test_verdict import CALIBRATION
from tests.runtime.parts import NODE, PUMP, Plant, alarm


@pytest.fixture
def plant() -> Plant:
    """Return what notes what the plant is told."""
    return Plant()


@pytest.fixture
def states(plant: Plant) -> MachineStates:
    """Return the states of one machine."""
    return MachineStates(NODE, (PUMP,), plant.set_state)


def published(plant: Plant) -> list[str]:
    """Return every state the plant was told."""
    return [json.loads(each)["state"] for each in plant.states]


def test_an_alarm_shows_once_it_is_on_disk_and_not_before(states: MachineStates, plant: Plant) -> None:
    """A window in alarm is still normal to the plant; its commit makes it an alarm, the end's commit normal again."""
    states.update(WindowResult("pump", MachineState.ALARM, 10.0, "anomalous"))
    states.committed(alarm())
    states.update(WindowResult("pump", MachineState.ALARM, 11.0, "anomalous"))
    states.committed(alarm(kind=EventKind.END, seq=1))
    assert published(plant) == ["normal", "alarm", "normal"]


def test_a_disk_that_fails_hides_every_other_state_until_it_works(states: MachineStates, plant: Plant) -> None:
    """It is published for each machine, once."""
    states.storage_fault("disk full")
    states.storage_fault("disk full")
    states.update(WindowResult("pump", MachineState.NORMAL, 10.0, "quiet"))
    states.storage_fault("")
    assert published(plant) == ["storage-fault", "storage-fault", "normal"]


def test_the_verdict_is_by_what_was_learnt_while_the_machine_is_heard(states: MachineStates) -> None:
    """Not enrolled it is deaf; so it is without sound, whatever was learnt, and no longer once that is back."""
    assert states.verdict("pump").next_step.startswith("not enrolled")
    states.set_generation("pump", None, Facts(damaged=True))
    damaged = states.verdict("pump")
    assert damaged.next_step.startswith("what was learnt is damaged")
    states.update(WindowResult("pump", MachineState.NO_AUDIO, 10.0, "the card was unplugged"))
    assert states.snapshot()[0]["verdict"]["next_step"].startswith("no sound comes")
    states.update(WindowResult("pump", MachineState.NORMAL, 20.0, "quiet"))
    assert states.verdict("pump") == damaged


@pytest.mark.parametrize(("most_s", "level"), [(None, "good"), (1e6, "good"), (1e-9, "deaf")])
def test_a_standstill_is_deaf_once_it_is_longer_than_it_may_be(plant: Plant, most_s: float | None, level: str) -> None:
    """Until then it is a pump that is switched off at night; with its start it is heard again."""
    running = PUMP.running.model_copy(update={"not_running_max_s": most_s})
    states = MachineStates(NODE, (PUMP.model_copy(update={"running": running}),), plant.set_state)
    states.set_generation("pump", None, Facts(CALIBRATION))
    states.update(WindowResult("pump", MachineState.NOT_RUNNING, 10.0, "the machine does not run"))
    assert states.verdict("pump").level == states.snapshot()[0]["verdict"]["level"] == level
    states.update(WindowResult("pump", MachineState.NORMAL, 20.0, "quiet"))
    assert states.verdict("pump").level == "good"


def test_the_verdict_knows_of_a_disk_that_fails(states: MachineStates) -> None:
    """The machine's own state does not."""
    states.set_generation("pump", None, Facts(CALIBRATION))
    states.update(WindowResult("pump", MachineState.NORMAL, 10.0, "quiet"))
    states.storage_fault("disk full")
    assert states.verdict("pump").next_step.startswith("the disk fails")
    states.storage_fault("")
    assert states.verdict("pump").level == "good"


def test_silence_is_noted_after_its_limit_unless_the_source_has_said_why(states: MachineStates, plant: Plant) -> None:
    """The source's own reason is worth more than that nothing came."""
    states.note_silence("pump", 60.0)
    assert published(plant) == []
    states.update(WindowResult("pump", MachineState.NO_AUDIO, 10.0, "the card was unplugged"))
    states.note_silence("pump", -1.0)
    assert states.snapshot()[0]["text"] == "the card was unplugged"
    states.update(WindowResult("pump", MachineState.NORMAL, 11.0, "quiet"))
    states.note_silence("pump", -1.0)
    assert states.snapshot()[0]["text"] == "no window could be judged for 0 s"
    assert published(plant) == ["no-audio", "normal", "no-audio"]


def test_a_restored_alarm_keeps_its_beginning(states: MachineStates, plant: Plant) -> None:
    """Its state is as old as the alarm, not as the restart; one that is interrupted begins with its return."""
    states.committed(replace(alarm(), since_ms=1_700_000_000_000))
    states.update(WindowResult("pump", MachineState.ALARM, 10.0, "anomalous"))
    states.update(WindowResult("pump", MachineState.NO_AUDIO, 11.0, "unplugged"))
    states.update(WindowResult("pump", MachineState.ALARM, 12.0, "anomalous"))
    told = [json.loads(each) for each in plant.states]
    since_ms = [each["since_ms"] for each in told if each["state"] in {"alarm", "no-audio"}]
    assert since_ms[0] == 1_700_000_000_000
    assert since_ms == sorted(since_ms)
    assert since_ms[1] > since_ms[0]
