"""What the service manager is told while the daemon runs: how it is, and that it makes progress."""

from __future__ import annotations

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


class ProgressReport:
    """`tick` is called often, in the main thread; `broker` returns None where none is configured."""

    def __init__(
        self,
        notifier: Notifier,
        states: MachineStates,
        progress: Callable[[], Progress],
        broker: Callable[[], PublisherHealth | None],
    ) -> None:
        self._notifier = notifier
        self._states = states
        self._progress = progress
        self._broker = broker
        self._hang = ""  # what stands still

    def tick(self) -> None:
        """Ping the watchdog while there is progress; a microphone or a broker that is away is no hang."""
        now_s = clock.now().monotonic_s
        hang = stuck(self._progress(), now_s)
        if hang != self._hang:
            self._hang = hang
            log.critical("service.stuck" if hang else "service.unstuck", reason=hang)
        if not hang:
            self._notifier.ping(now_s)
        broker = self._broker()
        states = ", ".join(f"{each['machine']} {each['state']}" for each in self._states.snapshot())
        link = "" if broker is None else f"; broker {'connected' if broker.connected else 'away'}"
        self._notifier.status(hang or f"{states}{link}")
