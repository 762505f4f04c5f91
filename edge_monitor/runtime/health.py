"""How the node fares: one snapshot for `status`, for MQTT and for metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor import clock

if TYPE_CHECKING:
    from edge_monitor.runtime.daemon import Daemon


class ExplanationCounts:
    """Counts what became of explanations since the start. Thread-safe."""

    def __init__(self) -> None:
        self.ok = 0
        self.unavailable = 0
        self._lock = threading.Lock()

    def count(self, *, ok: bool) -> None:
        """Count one."""
        with self._lock:
            if ok:
                self.ok += 1
            else:
                self.unavailable += 1


@dataclass(frozen=True, slots=True)
class Health:
    """A snapshot. What is counted is counted since the start, except where it says ever."""

    uptime_s: float
    memory_bytes: int  # resident
    clock_synced: bool | None  # None: the kernel cannot be asked
    clock_steps: int
    storage_fault: bool
    alarms_not_stored: int
    score_minutes_lost: int
    evidence_lost: int
    thread_restarts: int
    encoder_last_s: float
    encoder_mean_s: float
    frames_dropped: int
    windows_dropped: int
    outbox_rows: int
    outbox_oldest_s: float  # how long the oldest waits for the broker; 0: none does
    outbox_parked: int  # ever
    outbox_dropped: int  # ever, at the cap or from memory
    explanations_queued: int  # of outbox_rows; the others are alerts
    explanations_parked: int  # of outbox_parked
    explanations_dropped: int  # of outbox_dropped
    publish_errors: int
    connections: int  # made to the broker
    explanations_ok: int
    explanations_unavailable: int
    explanations_waiting: int


def observe(daemon: Daemon) -> Health:
    """Return how the node fares; touches no disk, so that a failing one cannot hold anybody up."""
    broker = daemon.link.health() if daemon.link else None
    windows = sum(daemon.encoder.windows)
    return Health(
        uptime_s=round(clock.now().monotonic_s - daemon.started_s, 1),
        memory_bytes=_resident_bytes(),
        clock_synced=clock.synchronized(),
        clock_steps=daemon.timekeeper.steps,
        storage_fault=daemon.board.faulty,
        alarms_not_stored=daemon.desk.not_stored,
        score_minutes_lost=daemon.hearing.score_minutes_lost,
        evidence_lost=daemon.explainer.evidence_lost,
        thread_restarts=sum(thread.restarts for thread in daemon.threads()),
        encoder_last_s=daemon.encoder.last_s,
        encoder_mean_s=daemon.encoder.total_s / windows if windows else 0.0,
        frames_dropped=daemon.feed.dropped_frames,
        windows_dropped=daemon.hearing.windows_dropped,
        outbox_rows=broker.outbox.due if broker else 0,
        outbox_oldest_s=daemon.link.oldest_s() if daemon.link else 0.0,
        outbox_parked=broker.outbox.parked if broker else 0,
        outbox_dropped=broker.outbox.dropped + broker.volatile_dropped if broker else 0,
        explanations_queued=broker.outbox.explanations_due if broker else 0,
        explanations_parked=broker.outbox.explanations_parked if broker else 0,
        explanations_dropped=broker.outbox.explanations_dropped if broker else 0,
        publish_errors=broker.errors if broker else 0,
        connections=broker.connections if broker else 0,
        explanations_ok=daemon.told.ok,
        explanations_unavailable=daemon.told.unavailable,
        explanations_waiting=daemon.explainer.waiting + daemon.narrator.waiting,
    )


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
