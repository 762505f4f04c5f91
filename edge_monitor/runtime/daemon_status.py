"""What `edge-monitor status` is answered while the daemon runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_monitor import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.deliver.health import PublisherHealth
    from edge_monitor.runtime.machine_states import MachineStates
    from edge_monitor.runtime.node_figures import NodeFigures
    from edge_monitor.runtime.supervision import ThreadHealth


class DaemonStatus:
    """What `edge-monitor status` is answered; `broker` returns None where none is configured."""

    def __init__(
        self,
        bundle: str,
        started_ms: int,
        figures: NodeFigures,
        states: MachineStates,
        *,
        threads: Callable[[], list[ThreadHealth]],
        broker: Callable[[], PublisherHealth | None],
    ) -> None:
        self._bundle = bundle
        self._started_ms = started_ms
        self._figures = figures
        self._states = states
        self._threads = threads
        self._broker = broker

    def read(self) -> dict[str, Any]:
        """Return what the daemon does, as plain JSON types."""
        health = self._figures.status()
        return {
            "running": True,
            "started": clock.rfc3339(self._started_ms),
            "bundle": self._bundle,
            "mqtt": _delivery(self._broker()),
            "threads": [asdict(each) for each in self._threads()],
            "dropped_frames": health["frames_dropped"],
            "dropped_windows": health["windows_dropped"],
            "health": health,
            "machines": self._states.snapshot(),
        }


def _delivery(broker: PublisherHealth | None) -> dict[str, Any] | None:
    if broker is None:
        return None
    return {
        "connected": broker.connected,
        "last_error": broker.last_error,
        "queued": broker.outbox.due,
        "parked": broker.outbox.parked,
        "dropped": broker.outbox.dropped + broker.volatile_dropped,
    }
