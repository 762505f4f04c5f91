"""Steps of the wall clock are noticed, and make nothing older than it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.runtime.timekeeper import Timekeeper
from tests.runtime.parts import NOW_MS

if TYPE_CHECKING:
    import pytest

    from edge_monitor.store.store import Store

YEAR_MS = 365 * 86_400_000


def test_after_a_step_everything_is_published_anew_and_ages_go_on_slowly(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds after a step of a year the believed time is twenty seconds later; put right again, so is it."""
    moment = clock.Now(100.0, NOW_MS)
    monkeypatch.setattr(clock, "now", lambda: moment)
    steps: list[int] = []
    keeper = Timekeeper(store, lambda: steps.append(keeper.steps))
    keeper.tick()
    assert steps == []
    moment = clock.Now(110.0, NOW_MS + 10_000 + YEAR_MS)
    keeper.tick()
    assert steps == [1]
    assert keeper.believed_ms() == NOW_MS + 20_000
    moment = clock.Now(120.0, NOW_MS + 20_000)
    keeper.tick()
    assert steps == [1, 2]
    assert keeper.believed_ms() == NOW_MS + 20_000


def test_the_believed_time_survives_a_restart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that starts with its clock a year ahead goes on from the time it believed last."""
    moment = clock.Now(100.0, NOW_MS)
    monkeypatch.setattr(clock, "now", lambda: moment)
    Timekeeper(store, lambda: None).tick()
    store.commit(lambda _: None)  # what was submitted before is committed
    moment = clock.Now(5.0, NOW_MS + YEAR_MS)
    assert Timekeeper(store, lambda: None).believed_ms() == NOW_MS
