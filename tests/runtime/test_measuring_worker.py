"""What was measured of an alarm's sound is recorded, or why it was not; the picture follows."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_monitor.alarm import history
from edge_monitor.config.settings import RetentionSettings
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.explain import jobs
from edge_monitor.explain.evidence import EvidenceStore
from edge_monitor.pipeline.alarm_audio import AlarmAudio
from edge_monitor.runtime.explanation_recorder import ExplanationRecorder
from edge_monitor.runtime.measuring_worker import MeasuringWorker
from tests.broker import wait_until
from tests.runtime.parts import MESSAGES, PUMP, alarm, rows
from tests.sounds import pump

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.store.store import Store


@pytest.fixture
def measured() -> list[None]:
    """Return one entry for each time something might be worded."""
    return []


@pytest.fixture
def worker(store: Store, tmp_path: Path, measured: list[None]) -> MeasuringWorker:
    """Return a worker, not started, that finds an alarm of the last run which was not measured."""
    store.commit(lambda connection: history.record(connection, alarm(1)))
    store.commit(lambda connection: jobs.create(connection, "alarm-1", ("measured",), 0))
    recorder = ExplanationRecorder(store, MESSAGES, threading.Event(), lambda: None)
    evidence = EvidenceStore(tmp_path / "evidence", RetentionSettings(free_mb=0))
    bundle = find_bundle("spectral", base=tmp_path)
    return MeasuringWorker(
        store, evidence, {"pump": PUMP}, bundle, recorder, lambda: True, lambda: measured.append(None)
    )


def test_what_the_last_run_did_not_measure_is_said_to_be_unavailable(
    store: Store, worker: MeasuringWorker, measured: list[None]
) -> None:
    """Its sound is gone; the plant is not left to wait, and the LLM may have its turn."""
    worker.thread.start()
    wait_until(lambda: worker.idle, 10.0, "the explanation")
    worker.close(5.0)
    assert rows(store, "SELECT text, reason FROM explanations") == [
        (None, "the node stopped before the sound was measured")
    ]
    assert worker.recorder.unavailable == len(measured) == 1


def test_a_sound_that_cannot_be_compared_is_drawn_all_the_same(
    store: Store, worker: MeasuringWorker, tmp_path: Path
) -> None:
    """The generation it was scored with is gone: that is the reason told, and its picture lies beside it."""
    event = replace(alarm(2, "press"), alarm_id="0b5e1a52-7c1f-4a52-9d0e-5c1f4a529d0e")
    store.commit(lambda connection: history.record(connection, event))
    store.commit(lambda connection: jobs.create(connection, event.alarm_id, ("measured",), 0))
    worker.machines = {"pump": PUMP, "press": PUMP}
    worker.thread.start()
    worker.explain(event, AlarmAudio(pump(2), 16_000, (), ()))
    worker.close(30.0)
    store.commit(lambda _: None)  # what was submitted before is committed
    [_, drawn] = rows(store, "SELECT text, reason, evidence IS NOT NULL FROM explanations NATURAL JOIN alarms")
    assert drawn == (None, "press: generation 1 is not known any more", 1)
    [picture] = (tmp_path / "evidence/press").iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert worker.evidence_lost == 0


def test_an_alarm_without_its_sound_costs_its_evidence_and_is_counted(store: Store, worker: MeasuringWorker) -> None:
    """The disk failed meanwhile, so that the sound was let go."""
    worker.thread.start()
    worker.explain(alarm(1), None)
    worker.close(10.0)
    assert worker.evidence_lost == 1
    assert rows(store, "SELECT count(*) FROM explanations WHERE finished_ms IS NULL") == [(0,)]
