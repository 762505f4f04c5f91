"""Whether the daemon makes progress: pure, time in and verdict out.

A missing microphone, a broker that is down and an LLM that stalls are no hangs: nothing here looks at them.
"""

from __future__ import annotations

from dataclasses import dataclass

# The pipeline turns at least every half second; encoding one window takes well under one.
PIPELINE_LIMIT_S = 30.0
# Cards and disks that are dying take minutes for an fsync and then go on; alarms wait in memory meanwhile.
STORAGE_LIMIT_S = 300.0
# Connected it turns every second, also while an answer does not come.
PUBLISHER_LIMIT_S = 30.0
# A name that many slow servers must be asked for takes a minute.
CONNECTING_LIMIT_S = 300.0
# It turns every 15 s, whether somebody asks or not.
API_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """When the threads that must not stand still last moved, monotonic seconds."""

    pipeline_turned_s: float
    storage_busy_since_s: float | None = None  # None: nothing is being written
    publisher_turned_s: float | None = None  # None: no broker is configured
    connected: bool = False  # the publisher is
    api_turned_s: float | None = None  # None: it is not there yet


def stuck(progress: Progress, now_s: float) -> str:
    """Return in one line what stands still, or an empty text: only then the service's watchdog is told."""
    looks = (
        ("the pipeline has not moved", progress.pipeline_turned_s, PIPELINE_LIMIT_S),
        ("a write has not ended", progress.storage_busy_since_s, STORAGE_LIMIT_S),
        (
            "the publisher has not moved",
            progress.publisher_turned_s,
            PUBLISHER_LIMIT_S if progress.connected else CONNECTING_LIMIT_S,
        ),
        ("the API has not moved", progress.api_turned_s, API_LIMIT_S),
    )
    for what, since_s, limit_s in looks:
        if since_s is not None and now_s - since_s > limit_s:
            return f"{what} for {now_s - since_s:.0f} s"
    return ""
