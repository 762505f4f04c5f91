"""What has become too old goes, by a clock that can be believed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from edge_monitor.alarm import history
from edge_monitor.config.settings import RetentionSettings
from edge_monitor.records import EventKind
from edge_monitor.runtime import housekeeping
from edge_monitor.runtime.housekeeping import DAY_MS, Housekeeping
from tests.broker import wait_until
from tests.runtime.parts import NOW_MS, alarm, rows

if TYPE_CHECKING:
    from edge_monitor.store.store import Store


@pytest.mark.parametrize(
    ("believed_ms", "left"),
    [(NOW_MS + 3 * DAY_MS, [("alarm-2",)]), (86_400_000, [("alarm-1",), ("alarm-2",)])],
    ids=["a clock that is right", "a clock of 1970"],
)
def test_ended_alarms_go_at_their_age_and_only_by_a_credible_clock(
    store: Store, monkeypatch: pytest.MonkeyPatch, believed_ms: int, left: list[tuple[str]]
) -> None:
    """One that goes on stays, however old; the files are looked after in any case."""
    store.commit(lambda to: history.record(to, alarm(1, "machine-1")))
    store.commit(lambda to: history.record(to, alarm(2, "machine-2")))
    store.commit(lambda to: history.record(to, alarm(1, "machine-1", EventKind.END, 1)))
    monkeypatch.setattr(housekeeping, "FIRST_S", 0.0)
    monkeypatch.setattr(housekeeping, "EVERY_S", 0.05)
    tidied = threading.Semaphore(0)
    keeper = Housekeeping(store, RetentionSettings(alarm_days=1.0), lambda: believed_ms, tidied.release)
    keeper.thread.start()
    for _ in range(2):
        assert tidied.acquire(timeout=10.0)
    wait_until(lambda: rows(store, "SELECT alarm_id FROM alarms ORDER BY alarm_id") == left, 10.0, "the age")
    keeper.thread.close()
    assert not keeper.thread.is_alive()
