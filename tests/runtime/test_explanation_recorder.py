"""An explanation is recorded once, with its message, whatever the disk does meanwhile."""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from edge_monitor.alarm import history
from edge_monitor.explain import jobs
from edge_monitor.records import Explanation
from edge_monitor.runtime import explanation_recorder
from edge_monitor.runtime.explanation_recorder import ExplanationRecorder
from tests.runtime.parts import MESSAGES, alarm, rows

if TYPE_CHECKING:
    from edge_monitor.store.store import Store

TEXT = Explanation("alarm-1", "pump", 0, "measured", 1, "A tone at 3 kHz.")


@pytest.fixture
def queued() -> list[None]:
    """Return one entry for each message that was queued."""
    return []


@pytest.fixture
def recorder(store: Store, queued: list[None]) -> ExplanationRecorder:
    """Return a recorder for an alarm that waits for its explanation."""
    store.commit(lambda connection: history.record(connection, alarm()))
    store.commit(lambda connection: jobs.create(connection, "alarm-1", ("measured",), 0))
    return ExplanationRecorder(store, MESSAGES, threading.Event(), lambda: queued.append(None))


def test_an_explanation_and_its_message_are_one_commit_made_once(
    store: Store, recorder: ExplanationRecorder, queued: list[None]
) -> None:
    """What is recorded a second time changes nothing and says nothing."""
    assert recorder.record(TEXT, acoustics="{}")
    assert not recorder.record(TEXT)
    [(topic, payload)] = rows(store, "SELECT topic, payload FROM outbox")
    assert topic == "edge-monitor/v1/plant/edge/pump/explanation"
    assert json.loads(bytes(payload))["text"] == "A tone at 3 kHz."  # type: ignore[call-overload]  # a BLOB
    assert (recorder.ok, recorder.unavailable, len(queued)) == (1, 0, 1)


def test_a_failing_disk_is_tried_again_until_the_daemon_stops(
    store: Store, recorder: ExplanationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try is recorded; with a stop under way it is left for the next run."""
    finish, failures = jobs.finish, [sqlite3.OperationalError("disk full")] * 2

    def fail_first(connection: sqlite3.Connection, explanation: Explanation, **fields: object) -> bool:
        if failures:
            raise failures.pop()
        return finish(connection, explanation, **fields)  # type: ignore[arg-type]  # the recorder names its fields

    monkeypatch.setattr(jobs, "finish", fail_first)
    monkeypatch.setattr(explanation_recorder, "RETRY_S", 0.01)
    recorder.stopping.set()
    assert not recorder.record(TEXT)
    assert rows(store, "SELECT text FROM explanations") == [(None,)]
    recorder.stopping.clear()
    assert recorder.record(TEXT)
    assert rows(store, "SELECT text FROM explanations") == [("A tone at 3 kHz.",)]


def test_of_a_machine_that_is_no_longer_configured_nothing_is_published(
    store: Store, recorder: ExplanationRecorder
) -> None:
    """Its explanation is recorded all the same."""
    store.commit(lambda connection: history.record(connection, alarm(2, "lathe")))
    store.commit(lambda connection: jobs.create(connection, "alarm-2", ("measured",), 0))
    assert recorder.record(Explanation("alarm-2", "lathe", 0, "measured", 1, None, reason="gone"))
    assert rows(store, "SELECT count(*) FROM outbox") == [(0,)]
    assert (recorder.ok, recorder.unavailable) == (0, 1)
