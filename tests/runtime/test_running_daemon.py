"""What operations get of the daemon they run in."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_monitor.errors import ControlError
from edge_monitor.runtime.running_daemon import RunningDaemon
from edge_monitor.runtime.taps import Taps

if TYPE_CHECKING:
    from edge_monitor.records import AudioLoss


@pytest.fixture
def daemon() -> RunningDaemon:
    """Return a daemon of one machine that nobody can reload."""
    pipelines: Any = {"pump": SimpleNamespace(learning=False)}
    unused: Any = None
    return RunningDaemon(pipelines, unused, Taps(), threading.Event(), unused, lambda: 3, lambda: None, None)


def test_a_machine_is_enrolled_by_one_at_a_time(daemon: RunningDaemon) -> None:
    """The second one is refused; once the first has ended, another may."""
    daemon.set_learning("pump", learning=True)
    with pytest.raises(ControlError, match="is being enrolled already"):
        daemon.set_learning("pump", learning=True)
    daemon.set_learning("pump", learning=False)
    daemon.set_learning("pump", learning=True)


def test_who_listens_hears_of_silence_and_ends_with_the_daemon(daemon: RunningDaemon) -> None:
    """Where nothing comes that is said twice a second; a stop ends the listening."""
    heard = daemon.hear("pump")
    assert cast("AudioLoss", next(heard)).reason == "no sound comes from the source"
    daemon.stopping.set()
    with pytest.raises(ControlError, match="the daemon stops"):
        next(heard)


def test_where_nobody_can_reload_that_is_said(daemon: RunningDaemon) -> None:
    """In one line, with what to do instead."""
    with pytest.raises(ControlError, match="cannot be reloaded"):
        daemon.reload()
    assert daemon.alarms_in_memory() == 3
