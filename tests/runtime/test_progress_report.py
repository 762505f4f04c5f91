"""The service manager is told of progress, and of nothing else while something stands still."""

from __future__ import annotations

from edge_monitor import clock
from edge_monitor.deliver.health import PublisherHealth
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
    report = ProgressReport(manager, states, lambda: Progress(turned_s, None, None), PublisherHealth)
    report.tick()
    turned_s -= 31.0
    report.tick()
    assert manager.pings == 1
    turned_s += 31.0
    report.tick()
    assert manager.pings == 2
    moving = "pump starting; broker away"
    assert manager.texts == [moving, "the pipeline has not moved for 31 s", moving]
