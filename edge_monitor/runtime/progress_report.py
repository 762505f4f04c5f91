"""What the service manager is told while the daemon runs: how it is, and that it makes progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.runtime.watchdog import stuck

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.deliver.health import PublisherHealth
    from edge_monitor.runtime.machine_states import MachineStates
    from edge_monitor.runtime.systemd import Notifier
    from edge_monitor.runtime.watchdog import Progress

log = structlog.get_logger()
MAIN_LIMIT_S = 30.0  # it turns twice a second; the end of a run, for a reload, takes less
PATIENCE_S = 10.0  # with a hang: one that was only seen late, by a box that slept, is over by then


@dataclass(eq=False)
class ProgressReport:
    """`tick` is called often, in the main thread; `broker` returns None where none is configured."""

    notifier: Notifier
    states: MachineStates
    progress: Callable[[], Progress]
    broker: Callable[[], PublisherHealth | None]
    hang: str = field(default="", init=False)  # what stands still, and for how long
    _what: str = field(default="", init=False)  # what stands still
    _since_s: float = field(default=0.0, init=False)  # when that was first seen, monotonic
    _writing: bool = field(default=False, init=False)  # something was being written then
    _ticked_s: float = field(default_factory=lambda: clock.now().monotonic_s, init=False)

    def tick(self) -> None:
        """Ping the watchdog while there is progress; a microphone or a broker that is away is no hang."""
        now_s = self._ticked_s = clock.now().monotonic_s
        progress = self.progress()
        hang = stuck(progress, now_s)
        what = hang.partition(" for ")[0]
        if what != self._what:
            self._since_s = now_s
            log.critical("service.stuck" if hang else "service.unstuck", reason=hang)
        self.hang, self._what, self._writing = hang, what, progress.storage_busy_since_s is not None
        if not hang:
            self.notifier.ping(now_s)
        broker = self.broker()
        states = ", ".join(f"{each['machine']} {each['state']}" for each in self.states.snapshot())
        link = "" if broker is None else f"; broker {'connected' if broker.connected else 'away'}"
        self.notifier.status(hang or f"{states}{link}")

    def standing_still(self) -> str:
        """Return in one line what stands still, the main thread too, or an empty text; from any thread."""
        silent_s = clock.now().monotonic_s - self._ticked_s
        return f"the main thread has not moved for {silent_s:.0f} s" if silent_s > MAIN_LIMIT_S else self.hang

    @property
    def hopeless(self) -> bool:
        """Return whether something stands still for good, so that the daemon does better to begin anew.

        Without a disk that answers it does not: alarms are told from memory.
        """
        return bool(self.hang) and not self._writing and clock.now().monotonic_s - self._since_s > PATIENCE_S
