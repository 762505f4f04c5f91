"""How an explanation is told: its row is finished and its message queued in one commit."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.deliver.compose import explanation_payload
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.errors import ConfigError
from edge_monitor.explain import jobs

if TYPE_CHECKING:
    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.records import Explanation
    from edge_monitor.runtime.daemon import Daemon

log = structlog.get_logger()
RETRY_S = 5.0  # while the disk fails


def tell(daemon: Daemon, explanation: Explanation, *, acoustics: str | None = None) -> bool:
    """Commit an explanation with its message; while the disk fails, try again until it does not.

    Returns False when it was told before, or the daemon stops first. The bytes of the message are made once.
    """
    at_ms = clock.now().wall_ms
    payload = _payload(daemon, explanation, at_ms)

    def write(connection: sqlite3.Connection) -> bool:
        if not jobs.finish(connection, explanation, at_ms=at_ms, acoustics=acoustics):
            return False
        mqtt, link = daemon.settings.mqtt, daemon.link
        if payload is not None and mqtt is not None and link is not None:
            outbox = Outbox(connection, max_rows=mqtt.outbox_max_rows, max_bytes=mqtt.outbox_max_mb * 1_000_000)
            outbox.enqueue(
                link.topics.explanation(explanation.machine),
                payload,
                alarm_id=explanation.alarm_id,
                seq=explanation.seq,
                created_ms=at_ms,
            )
        return True

    while True:
        try:
            told = daemon.commit(write)
        except sqlite3.OperationalError:  # the storage thread has logged it
            if daemon.wait_for_stop(RETRY_S):
                return False
        else:
            break
    if told:
        daemon.told.count(ok=explanation.text is not None)
        log.info(
            "explain.told",
            machine=explanation.machine,
            alarm_id=explanation.alarm_id,
            method=explanation.method,
            text=explanation.text,
            reason=explanation.reason,
        )
        if daemon.link is not None:
            daemon.link.wake()
    return told


def _payload(daemon: Daemon, explanation: Explanation, at_ms: int) -> bytes | None:
    """Return the message; None for a machine that is no longer configured, of which nothing more is published."""
    try:
        machine: MachineSettings = daemon.machine(explanation.machine)
    except ConfigError:
        return None
    return explanation_payload(
        daemon.settings.node,
        machine,
        explanation,
        at_ms=at_ms,
        clock_synced=clock.synchronized(),
        evidence=None if machine.evidence == "off" else f"{machine.name}/{explanation.alarm_id}.png",
    ).encode()
