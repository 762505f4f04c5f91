"""Whether the daemon makes progress: pure, time in and verdict out.

A missing microphone, a broker that is down and an LLM that stalls are no hangs: nothing here looks at them.
"""

from __future__ import annotations

from dataclasses import dataclass

# The pipeline turns at least every half second; encoding one window takes well under one.
PIPELINE_LIMIT_S = 30.0
# Cards and disks that are dying take minutes for an fsync and then go on; alarms wait in memory meanwhile.
STORAGE_LIMIT_S = 300.0
# A name that many slow servers must be asked for takes a minute; an answer that does not come, 20 s.
PUBLISHER_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Progress:
    """When the threads that must not stand still last moved, monotonic seconds."""

    pipeline_turned_s: float
    storage_busy_since_s: float | None  # None: nothing is being written
    publisher_turned_s: float | None  # None: no broker is configured


def stuck(progress: Progress, now_s: float) -> str:
    """Return in one line what stands still, or an empty text: only then the service's watchdog is told."""
    silent_s = now_s - progress.pipeline_turned_s
    if silent_s > PIPELINE_LIMIT_S:
        return f"the pipeline has not moved for {silent_s:.0f} s"
    since_s = progress.storage_busy_since_s
    if since_s is not None and now_s - since_s > STORAGE_LIMIT_S:
        return f"a write has not ended for {now_s - since_s:.0f} s"
    turned_s = progress.publisher_turned_s
    if turned_s is not None and now_s - turned_s > PUBLISHER_LIMIT_S:
        return f"the publisher has not moved for {now_s - turned_s:.0f} s"
    return ""
