"""How the publisher waits, and how it says that it is well."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace

from edge_monitor.deliver.outbox import OutboxCounts


@dataclass(frozen=True, slots=True)
class Timing:
    """Waiting times, seconds."""

    backoff_min_s: float = 1.0  # before the first reconnection, then doubling; each wait is jittered down to its half
    backoff_max_s: float = 60.0
    acknowledge_s: float = 20.0  # for CONNACK and each PUBACK; then the connection counts as dead
    connect_s: float = 2.5  # for TCP and TLS
    drain_s: float = 2.0  # at stop, for what is still in the outbox

    def backoff_s(self, failures: int) -> float:
        """Return how long to wait after so many failed connections in a row, jittered."""
        ceiling_s = min(self.backoff_max_s, self.backoff_min_s * 2.0 ** min(failures, 16))
        return ceiling_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


@dataclass(frozen=True, slots=True)
class PublisherHealth:
    """A snapshot for status displays and the watchdog."""

    alive: bool = False  # the thread runs
    connected: bool = False
    last_error: str | None = None  # one line; stays after the cause has gone
    errors: int = 0  # connections lost or not made, and messages refused, since start
    connections: int = 0  # made since start
    sent: int = 0  # outbox rows (and alerts from memory) acknowledged since start
    scores_sent: int = 0
    scores_skipped: int = 0  # not connected, rate-limited or congested; by design, not a loss
    volatile_dropped: int = 0  # alerts lost from memory while the disk failed
    volatile_refused: int = 0  # of those, refused by the broker
    outbox: OutboxCounts = field(default_factory=OutboxCounts)  # at most a second old
    turned_s: float = field(default_factory=time.monotonic)  # when the thread last moved; at least every 20 s


class Vitals:
    """The health so far: noted by the publisher's thread, read by any."""

    def __init__(self) -> None:
        self.now = PublisherHealth()

    def note(self, **changes: object) -> None:
        """Replace fields of `now`; a `last_error` is counted."""
        errors = self.now.errors + ("last_error" in changes)
        self.now = replace(self.now, errors=errors, **changes)  # type: ignore[arg-type]  # each call names its own fields
