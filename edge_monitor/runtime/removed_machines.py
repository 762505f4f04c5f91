"""Machines that were removed from the configuration: their alarms end, and the broker lets go of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.config.machine import MachineSettings
from edge_monitor.records import EventKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from concurrent.futures import Future

    from edge_monitor.records import AlarmEvent
    from edge_monitor.runtime.plant_messages import PlantMessages
    from edge_monitor.store.store import Store

log = structlog.get_logger()
REASON = "machine removed from the configuration"


@dataclass(eq=False)
class RemovedMachines:
    """Each is remembered until the broker has let go of it; what a failing disk prevents waits for a restart."""

    store: Store
    machines: tuple[MachineSettings, ...]  # of today
    messages: PlantMessages

    def end_alarms(self, clear: Callable[[str], None]) -> None:
        """End the alarms of removed machines, then call `clear` with each one's name; returns at once."""

        def ended(done: Future[dict[str, AlarmEvent | None]]) -> None:
            if (error := done.exception()) is not None:
                log.error("service.leave_not_taken", reason=str(error))
                return
            for name, event in done.result().items():
                if event is not None:
                    log.warning("alarm.ended", machine=name, alarm_id=event.alarm_id, seq=event.seq, reason=REASON)
                clear(name)

        self.store.submit(self._end_alarms).add_done_callback(ended)

    def forget(self, machine: str) -> None:
        """Forget a machine of which the broker has let go; returns at once."""
        self.store.submit(lambda connection: connection.execute("DELETE FROM machines WHERE name = ?", (machine,)))
        log.info("service.machine_forgotten", machine=machine)

    def _end_alarms(self, connection: sqlite3.Connection) -> dict[str, AlarmEvent | None]:
        """Note the machines of today, end the alarms of the others; return the others with the end of their alarm."""
        connection.executemany(
            "INSERT OR REPLACE INTO machines (name, display_name, kind, priority) VALUES (?, ?, ?, ?)",
            [(each.name, each.title, each.kind, each.alarm.priority) for each in self.machines],
        )
        names = {each.name for each in self.machines}
        rows = connection.execute("SELECT * FROM machines ORDER BY name")
        removed = [row for row in rows if row["name"] not in names]
        return {row["name"]: self._end_alarm(connection, _as_it_was(row)) for row in removed}

    def _end_alarm(self, connection: sqlite3.Connection, machine: MachineSettings) -> AlarmEvent | None:
        at_ms = clock.now().wall_ms
        last = history.restore(connection, machine.name, cooldown_s=0.0, wall_ms=at_ms).active
        if last is None:
            return None
        event = replace(last, kind=EventKind.END, seq=last.seq + last.raised, at_ms=at_ms, reason=REASON)
        if event.episode is not None:
            event = replace(event, episode=replace(event.episode, seq=event.episode.seq + 1))
        history.record(connection, event)
        for message in self.messages.told(event, machine=machine):
            self.messages.queue(connection, message)
        return event


def _as_it_was(row: sqlite3.Row) -> MachineSettings:
    """Return what was known of a removed machine; its source is of no account any more, and no evidence is named."""
    return MachineSettings.model_validate(
        {
            "name": row["name"],
            "display_name": row["display_name"],
            "kind": row["kind"],
            "source": {"kind": "simulator"},
            "evidence": "off",
            "alarm": {"priority": row["priority"]},
        }
    )
