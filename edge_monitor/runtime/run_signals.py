"""What the plant says of its machines: whether each runs, by its run or speed topic."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from edge_monitor.capture.gate import parse_run_signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.config.machine import MachineSettings

log = structlog.get_logger()


class RunSignals:
    """Passes on run signals in the publisher's thread: `on_signal(machine, running)`; None: the plant is not heard."""

    def __init__(self, machines: tuple[MachineSettings, ...], on_signal: Callable[[str, bool | None], None]) -> None:
        self._machines = [machine for machine in machines if machine.running.topic is not None]
        self._on_signal = on_signal

    def subscriptions(self) -> dict[str, Callable[[bytes, bool], None]]:
        """Return what takes the payloads of each topic; machines may share one."""
        return {
            topic: partial(self._take, [each for each in self._machines if each.running.topic == topic])
            for topic in {machine.running.topic for machine in self._machines}
            if topic is not None
        }

    def lost(self) -> None:
        """Believe nobody's last word: a retained one comes again with the next connection."""
        for machine in self._machines:
            self._on_signal(machine.name, None)

    def _take(self, machines: list[MachineSettings], payload: bytes, _retained: bool) -> None:
        for machine in machines:
            running = parse_run_signal(payload, machine.running.running_above)
            if running is None:
                log.warning("service.run_signal_unclear", machine=machine.name, payload=repr(payload[:40]))
                if machine.running.gate == "off":  # no level can decide instead: the last word stands
                    continue
            self._on_signal(machine.name, running)
