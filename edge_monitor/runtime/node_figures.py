"""What a node counts and measures of itself: one registry for `status`, for the plant and for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Read = Callable[[], float | None]  # from any thread; touches no disk, so that a failing one holds nobody up


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and where it is published. The plant's status takes, by its name, whatever its contract has."""

    name: str
    meaning: str  # one line
    metric: str = ""  # its name in Prometheus, without prefix; empty: not there
    grows: bool = True  # a counter, since the start (`ever`: since the database was made); False: goes up and down
    in_status: bool = True  # in what `edge-monitor status` is answered


def _counter(name: str, meaning: str) -> Figure:
    return Figure(name, meaning, name)


def _gauge(name: str, meaning: str, metric: str = "") -> Figure:
    return Figure(name, meaning, metric or name, grows=False)


FIGURES = (
    _gauge("uptime_s", "Time since the start.", "uptime_seconds"),
    _gauge("memory_bytes", "Resident memory.", "resident_memory_bytes"),
    _gauge("clock_synced", "1: the kernel says the wall clock is synchronized."),
    _counter("clock_steps", "Steps of the wall clock."),
    _gauge("storage_fault", "1 while the disk fails."),
    _counter("alarms_not_stored", "Records of alarms that the disk never took."),
    _counter("score_minutes_lost", "Minutes of scores that the disk never took."),
    _counter("evidence_lost", "Alarms whose picture or sound could not be kept."),
    _counter("log_lines_dropped", "Log lines lost because nobody read the log."),
    _counter("thread_restarts", "Threads that died and were begun anew."),
    Figure("encoder_last_s", "Time the encoder took for the last window."),
    Figure("encoder_mean_s", "Time it took for a window on average."),
    _counter("frames_dropped", "Audio frames lost."),
    _counter("windows_dropped", "Windows not scored because scoring was too slow."),
    _gauge("outbox_rows", "Alerts and explanations that wait for the broker."),
    _gauge("outbox_oldest_s", "How long the oldest of them waits; 0: none does.", "outbox_oldest_seconds"),
    _counter("outbox_parked", "Alerts and explanations the broker refused, ever."),
    _counter("outbox_dropped", "Alerts and explanations lost at the outbox's cap or from memory, ever."),
    _gauge("explanations_queued", "Explanations of these."),
    _counter("explanations_parked", "Of the refused ones, explanations."),
    _counter("explanations_dropped", "Of the lost ones, explanations."),
    Figure("alerts_queued", "Of those that wait, alerts.", in_status=False),
    Figure("alerts_oldest_s", "As outbox_oldest_s, to a tenth.", in_status=False),
    Figure("alerts_parked", "Of the refused ones, alerts.", in_status=False),
    Figure("alerts_dropped", "Of the lost ones, alerts.", in_status=False),
    _counter("publish_errors", "Connections lost or not made, and messages refused."),
    _counter("connections", "Connections made to the broker."),
    Figure("broker_connected", "1 while connected to the broker.", "broker_connected", grows=False, in_status=False),
    _counter("explanations_ok", "Explanations given."),
    _counter("explanations_unavailable", "Alarms told that they cannot be explained."),
    _gauge("explanations_waiting", "Explanations that are still to be given."),
)


class NodeFigures:
    """Reads every figure where it is counted. Thread-safe.

    `sources` has a way to read each of FIGURES, or None for one that this node has not. Raises EdgeMonitorError when a
    figure has no source, or a source no figure.
    """

    def __init__(self, sources: Mapping[str, Read | None]) -> None:
        if odd := sources.keys() ^ {figure.name for figure in FIGURES}:
            raise EdgeMonitorError(f"figures without a source, or sources without a figure: {', '.join(sorted(odd))}")
        self._sources = sources

    def __iter__(self) -> Iterator[tuple[Figure, float | None]]:
        """Yield each figure this node has, and its value (None: not known)."""
        for figure in FIGURES:
            if (read := self._sources[figure.name]) is not None:
                yield figure, read()

    def read(self) -> dict[str, float | None]:
        """Return every figure's value by name."""
        return {figure.name: value for figure, value in self}

    def status(self) -> dict[str, float | None]:
        """Return what `edge-monitor status` is answered, by name."""
        return {figure.name: value for figure, value in self if figure.in_status}


def resident_bytes() -> int:
    """Return this process's resident memory, bytes; 0 where the kernel does not say."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
