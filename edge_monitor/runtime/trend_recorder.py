"""Scores are rolled up and looked at for a trend, every ten minutes; what the plant is told of it changes with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.node import trend
from edge_monitor.pipeline.score_rollups import roll_up
from edge_monitor.records import MachineTrends
from edge_monitor.runtime.supervision import PeriodicThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.runtime.plant_messages import PlantMessages
    from edge_monitor.store.store import Store

log = structlog.get_logger()
EVERY_S = 600.0
FIRST_S = 45.0  # after the start: the minute that a crash has left is rolled up, and what the plant holds is renewed


@dataclass(eq=False)
class TrendRecorder:
    """Works in a thread of its own, which waits for the writer like any other long work.

    `publish` is called with a machine and its trend's message, when that says something else than the one before.
    """

    store: Store
    machines: Iterable[MachineSettings]
    messages: PlantMessages
    publish: Callable[[str, bytes], None]

    def __post_init__(self) -> None:
        """Make what is its own."""
        self._told: dict[str, tuple[MachineTrends, str]] = {}
        self.thread = PeriodicThread("trends", self.look, first_s=FIRST_S, every_s=EVERY_S)

    def look(self) -> None:
        """Roll up what is due, then look at each machine's scores."""
        now_ms = clock.now().wall_ms
        if hours := roll_up(self.store, now_ms):
            log.debug("memory.rolled_up", hours=hours)
        for machine in self.machines:
            with self.store.reading() as connection:
                generation, (hours_seen, days_seen) = trend.look(connection, machine, now_ms)
            found = MachineTrends(machine.name, generation, hours_seen.trend, days_seen.trend)
            text = trend.headline(hours_seen, days_seen)
            before = self._told.get(machine.name)
            if before != (found, text):
                self._told[machine.name] = (found, text)
                self._log_change(before[0] if before else None, found, text)
                self.publish(machine.name, self.messages.trend(found, text, now_ms))

    def _log_change(self, before: MachineTrends | None, now: MachineTrends, text: str) -> None:
        rising = [each for each in (now, before) if each is not None and each.rising]
        if rising == [now]:
            log.warning("trend.rising", machine=now.machine, text=text)
