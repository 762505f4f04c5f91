"""Taking leave of machines that were removed from the configuration: the plant must not go on believing in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.config.machine import MachineSettings
from edge_monitor.deliver.compose import alert_payload
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.records import EventKind

if TYPE_CHECKING:
    import sqlite3
    from concurrent.futures import Future

    from edge_monitor.runtime.daemon import Daemon

log = structlog.get_logger()
REASON = "machine removed from the configuration"


def take_leave(daemon: Daemon) -> None:
    """End the alarms of removed machines, and have the broker let go of their states.

    Returns at once. Each is remembered until the broker has done so; what a failing disk prevents is done at the next
    start.
    """

    def ended(done: Future[list[str]]) -> None:
        if (error := done.exception()) is not None:
            log.error("service.leave_not_taken", reason=str(error))
        elif daemon.link is not None:
            for name in done.result():
                daemon.link.clear_state(name)

    daemon.store.submit(lambda connection: _end_alarms(daemon, connection)).add_done_callback(ended)


def forget(daemon: Daemon, machine: str) -> None:
    """Forget a machine whose state the broker has let go of; returns at once."""
    daemon.store.submit(lambda connection: connection.execute("DELETE FROM machines WHERE name = ?", (machine,)))
    log.info("service.machine_forgotten", machine=machine)


def _end_alarms(daemon: Daemon, connection: sqlite3.Connection) -> list[str]:
    """Note the machines of today, end the alarms of the others; return the others' names."""
    present = daemon.settings.machine
    connection.executemany(
        "INSERT OR REPLACE INTO machines (name, display_name, kind, priority) VALUES (?, ?, ?, ?)",
        [(each.name, each.title, each.kind, each.alarm.priority) for each in present],
    )
    names = {each.name for each in present}
    removed = [row for row in connection.execute("SELECT * FROM machines ORDER BY name") if row["name"] not in names]
    for row in removed:
        _end_alarm(daemon, connection, _as_it_was(row))
    return [row["name"] for row in removed]


def _end_alarm(daemon: Daemon, connection: sqlite3.Connection, machine: MachineSettings) -> None:
    at_ms = clock.now().wall_ms
    last = history.restore(connection, machine.name, cooldown_s=0.0, wall_ms=at_ms).active
    if last is None:
        return
    event = replace(last, kind=EventKind.END, seq=last.seq + 1, at_ms=at_ms, reason=REASON)
    history.record(connection, event)
    log.warning("alarm.ended", machine=machine.name, alarm_id=event.alarm_id, seq=event.seq, reason=REASON)
    mqtt, link = daemon.settings.mqtt, daemon.link
    if mqtt is None or link is None:
        return
    payload = alert_payload(
        daemon.settings.node, machine, event, bundle=daemon.bundle.name, clock_synced=clock.synchronized()
    )
    Outbox(connection, max_rows=mqtt.outbox_max_rows, max_bytes=mqtt.outbox_max_mb * 1_000_000).enqueue(
        link.topics.alert(machine.name),
        payload.encode(),
        alarm_id=event.alarm_id,
        seq=event.seq,
        created_ms=at_ms,
    )


def _as_it_was(row: sqlite3.Row) -> MachineSettings:
    """Return what was known of a removed machine; its source is of no account any more."""
    return MachineSettings.model_validate(
        {
            "name": row["name"],
            "display_name": row["display_name"],
            "kind": row["kind"],
            "source": {"kind": "simulator"},
            "alarm": {"priority": row["priority"]},
        }
    )
