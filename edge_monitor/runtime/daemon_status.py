"""What `edge-monitor status` is answered while the daemon runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_monitor import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.deliver.health import PublisherHealth
    from edge_monitor.runtime.machine_states import MachineStates
    from edge_monitor.runtime.node_figures import NodeFigures
    from edge_monitor.runtime.supervision import ThreadHealth


@dataclass(eq=False)
class DaemonStatus:
    """What `edge-monitor status` is answered; `broker` returns None where there is none, `stuck` what stands still."""

    bundle: str
    started_ms: int  # wall clock, milliseconds since 1970-01-01 UTC
    figures: NodeFigures
    states: MachineStates
    threads: Callable[[], list[ThreadHealth]]
    broker: Callable[[], PublisherHealth | None]
    stuck: Callable[[], str]

    def read(self) -> dict[str, Any]:
        """Return what the daemon does, as plain JSON types."""
        health = self.figures.status()
        return {
            "running": True,
            "started": clock.rfc3339(self.started_ms),
            "bundle": self.bundle,
            "mqtt": _delivery(self.broker()),
            "stuck": self.stuck(),
            "threads": [asdict(each) for each in self.threads()],
            "dropped_frames": health["frames_dropped"],
            "dropped_windows": health["windows_dropped"],
            "health": health,
            "machines": self.states.snapshot(),
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
