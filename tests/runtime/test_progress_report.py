"""The service manager is told of progress, and of nothing else while something stands still."""

from __future__ import annotations

import pytest

from edge_monitor import clock
from edge_monitor.deliver.health import PublisherHealth
from edge_monitor.runtime import progress_report
from edge_monitor.runtime.machine_states import MachineStates
from edge_monitor.runtime.progress_report import ProgressReport
from edge_monitor.runtime.systemd import Notifier
from edge_monitor.runtime.watchdog import Progress
from tests.runtime.parts import NODE, PUMP


class Manager(Notifier):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.pings = 0
        self.texts: list[str] = []

    def ping(self, now_s: float) -> None:  # noqa: ARG002 - as the notifier's
        """Count."""
        self.pings += 1

    def status(self, text: str) -> None:
        """Note it."""
        self.texts.append(text)


def test_a_pipeline_that_stands_still_is_no_progress_and_a_broker_that_is_away_is() -> None:
    """Its watchdog is pinged again as soon as the pipeline moves."""
    manager, turned_s = Manager(), clock.now().monotonic_s
    states = MachineStates(NODE, (PUMP,), lambda *_: None)
    report = ProgressReport(manager, states, lambda: Progress(turned_s), PublisherHealth)
    report.tick()
    turned_s -= 31.0
    report.tick()
    assert manager.pings == 1
    turned_s += 31.0
    report.tick()
    assert manager.pings == 2
    moving = "pump starting; broker away"
    assert manager.texts == [moving, "the pipeline has not moved for 31 s", moving]


@pytest.mark.parametrize(("writing", "hopeless"), [(False, True), (True, False)])
def test_a_hang_that_lasts_is_hopeless_unless_the_disk_hangs(
    writing: bool, hopeless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box that slept sees a hang for a moment; without a disk alarms are told from memory."""
    now_s = clock.now().monotonic_s
    progress = Progress(now_s - 31.0, storage_busy_since_s=now_s - 400.0 if writing else None)
    states = MachineStates(NODE, (PUMP,), lambda *_: None)
    report = ProgressReport(Manager(), states, lambda: progress, lambda: None)
    report.tick()
    assert report.hang == "the pipeline has not moved for 31 s"
    assert not report.hopeless
    monkeypatch.setattr(progress_report, "PATIENCE_S", -1.0)  # it has lasted
    report.tick()
    assert report.hopeless is hopeless


def test_a_main_thread_that_stands_still_is_told_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot say so itself: who asks the API hears it."""
    report = ProgressReport(
        Manager(),
        MachineStates(NODE, (PUMP,), lambda *_: None),
        lambda: Progress(clock.now().monotonic_s),
        lambda: None,
    )
    report.tick()
    assert report.standing_still() == ""
    monkeypatch.setattr(progress_report, "MAIN_LIMIT_S", -1.0)
    assert report.standing_still() == "the main thread has not moved for 0 s"
