"""What a part of the daemon needs to be built alone: settings, an alarm, a plant that notes what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_monitor.config.machine import MachineSettings
from edge_monitor.config.settings import MqttSettings, NodeSettings
from edge_monitor.records import AlarmEvent, EventKind
from edge_monitor.runtime.plant_messages import PlantMessages

if TYPE_CHECKING:
    from edge_monitor.store.store import Store

NODE = NodeSettings(site="plant", name="edge")
MQTT = MqttSettings(host="broker")
PUMP, FAN = (
    MachineSettings.model_validate({"name": name, "kind": name, "source": {"kind": "simulator"}})
    for name in ("pump", "fan")
)
MESSAGES = PlantMessages(NODE, MQTT, (PUMP, FAN), "spectral")
NOW_MS = 1_790_000_000_000


def alarm(number: int = 1, machine: str = "pump", kind: EventKind = EventKind.START, seq: int = 0) -> AlarmEvent:
    """Return an event of an alarm."""
    return AlarmEvent(
        machine=machine,
        alarm_id=f"alarm-{number}",
        seq=seq,
        kind=kind,
        at_s=0.0,
        at_ms=NOW_MS + number,
        since_ms=NOW_MS,
        score=2.0,
        peak_score=2.0,
        peak_ratio=2.0,
        threshold=1.0,
        generation=1,
        level_dbfs=-30.0,
        neighbours=(),
        window_start_s=0.0,
        window_end_s=10.0,
        reason="a test",
    )


@dataclass
class Plant:
    """Notes what is said to it at once."""

    said: list[str] = field(default_factory=list)
    from_memory: list[bytes] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)

    def wake(self) -> None:
        """Note it."""
        self.said.append("wake")

    def refresh_status(self) -> None:
        """Note it."""
        self.said.append("status")

    def set_state(self, machine: str, payload: bytes) -> None:  # noqa: ARG002 - the payload names it too
        """Note it."""
        self.states.append(payload)

    def publish_volatile(self, topic: str, payload: bytes, *, alarm_id: str, seq: int, created_ms: int) -> None:  # noqa: ARG002 - as the publisher's
        """Note it."""
        self.from_memory.append(payload)


def rows(store: Store, query: str) -> list[tuple[object, ...]]:
    """Return what a query finds."""
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]
