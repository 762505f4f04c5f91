"""A machine that is no longer configured: its alarm ends, its state is cleared, then it is forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_monitor.alarm import history
from edge_monitor.records import Episode, EventKind
from edge_monitor.runtime.removed_machines import RemovedMachines
from tests.broker import wait_until
from tests.runtime.parts import FAN, MESSAGES, PUMP, alarm, rows

if TYPE_CHECKING:
    from edge_monitor.store.store import Store


def test_the_alarm_of_a_removed_machine_ends_and_its_state_is_cleared(store: Store) -> None:
    """The end is queued with the machine's old priority; the machine that is still configured is left alone."""
    RemovedMachines(store, (PUMP, FAN), MESSAGES).end_alarms(lambda _: None)
    store.commit(lambda connection: history.record(connection, alarm(1, "fan")))
    cleared: list[str] = []
    removed = RemovedMachines(store, (PUMP,), MESSAGES)
    removed.end_alarms(cleared.append)
    wait_until(lambda: cleared == ["fan"], 5.0, "the fan's state")
    [(topic, payload)] = rows(store, "SELECT topic, payload FROM outbox")
    end = json.loads(bytes(payload))  # type: ignore[call-overload]  # a BLOB
    assert topic == "edge-monitor/v1/plant/edge/fan/alert"
    assert (end["event"], end["seq"], end["priority"]) == ("end", 1, FAN.alarm.priority)
    assert end["reason"] == "machine removed from the configuration"
    assert "evidence" not in end
    removed.forget("fan")
    assert store.commit(lambda to: [row[0] for row in to.execute("SELECT name FROM machines")]) == ["pump"]


def test_the_episode_of_a_removed_machine_ends_without_an_alert(store: Store) -> None:
    """It was no alarm: its end is told where its start was."""
    RemovedMachines(store, (PUMP, FAN), MESSAGES).end_alarms(lambda _: None)
    changed = replace(alarm(1, "fan", EventKind.CHANGED, seq=-1), episode=Episode(0, 1))
    store.commit(lambda connection: history.record(connection, changed))
    cleared: list[str] = []
    RemovedMachines(store, (PUMP,), MESSAGES).end_alarms(cleared.append)
    wait_until(lambda: cleared == ["fan"], 5.0, "the fan's state")
    [(topic, payload)] = rows(store, "SELECT topic, payload FROM outbox")
    end = json.loads(bytes(payload))  # type: ignore[call-overload]  # a BLOB
    assert topic == "edge-monitor/v1/plant/edge/fan/condition"
    assert (end["event"], end["seq"], end["condition"]) == ("end", 1, 1)
    assert rows(store, "SELECT last_seq, condition_seq, raised_ms FROM alarms") == [(-1, 1, None)]


def test_it_is_remembered_until_the_broker_has_let_go(store: Store) -> None:
    """At each start the state is cleared anew; an alarm that has ended does not end again."""
    RemovedMachines(store, (PUMP, FAN), MESSAGES).end_alarms(lambda _: None)
    cleared: list[str] = []
    for _ in range(2):
        RemovedMachines(store, (PUMP,), MESSAGES).end_alarms(cleared.append)
    wait_until(lambda: cleared == ["fan", "fan"], 5.0, "the fan's state, twice")
    assert rows(store, "SELECT count(*) FROM outbox") == [(0,)]
