"""Operations that run one after the other while machines alarm, and what became of the alarms in each."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.broker import wait_until
from tests.soak import operations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.oracle import Plant
    from tests.soak.alarming import Commit, Disk, Watch
    from tests.soak.operations import Operation, Sizes

TIDIES_S = 12.0  # after the start of the daemon: its retention comes while the machines alarm
# The promise is 100 ms, held to by `make soak`, which runs alone; in the suite three other files run beside this one.
SLACK_S = 0.1 if os.environ.get("EDGE_MONITOR_SOAK_SIZES") == "full" else 1.0


@dataclass
class Report:
    """What became of the alarms, operation by operation."""

    disk: Disk
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)  # wall time, seconds since 1970-01-01 UTC
    failed: dict[str, str] = field(default_factory=dict)  # operations, and why

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Note when the body began and ended."""
        began_s = time.time()
        yield
        self.spans[name] = began_s, time.time()

    def complete(self, seen: Watch, stored: list[Commit], from_memory: set[str]) -> None:
        """Take in what is known when all is over."""
        self.seen, self.stored, self.from_memory = seen, stored, from_memory

    @property
    def limit_s(self) -> float:
        """Return how long a commit may take, seconds."""
        return SLACK_S + 2.0 * self.seen.p99_s

    def during(self, name: str) -> list[float]:
        """Return how long the commits took that were under way during an operation, seconds."""
        began_s, ended_s = self.spans[name]
        return [
            each.took_s for each in self.stored if each.decided_s < ended_s and each.decided_s + each.took_s > began_s
        ]

    def __str__(self) -> str:
        """Return the figures as a Markdown table."""
        lines = [f"| {self.disk} | seconds | transitions | slowest commit |", "|---|--:|--:|--:|"]
        for name, (began_s, ended_s) in self.spans.items():
            took_s = self.during(name)
            slowest = f"{max(took_s):.3f} s" if took_s else ""
            lines.append(f"| {name} | {ended_s - began_s:.1f} | {len(took_s)} | {slowest} |")
        seen = self.seen
        lines += [
            f"| bare fsync, 99th percentile of {len(seen.fsync_s)} | | | {seen.p99_s:.3f} s |",
            f"| limit | | | {self.limit_s:.3f} s |",
            f"| alarms told from memory | | {len(self.from_memory)} | |",
            f"| largest log | | | {seen.largest_wal_mb:.1f} MB |",
        ]
        return "\n".join(lines)


def in_turn(plant: Plant, report: Report, sizes: Sizes, *, alone_s: float) -> None:
    """Have the operations run one after the other on a running node, with `alone_s` of peace before and after."""
    with report.span("alone"):
        time.sleep(alone_s)
    for name in operations.NAMES:
        work = operations.operation(name, plant.product, sizes)
        if name != "retention":  # its alarms are there from the beginning
            work.prepare(0)
        with report.span(name):
            failed = carried_out(work)
        if failed := failed or work.undone():
            report.failed[name] = failed
    with report.span("alone again"):
        time.sleep(alone_s)


def carried_out(work: Operation) -> str:
    """Run an operation to its end; return what it complains of."""
    argv, patience_s = work.argv(), work.sizes.patience_s
    try:
        if not argv:
            wait_until(lambda: not work.undone(), TIDIES_S + patience_s, "what the daemon does by itself")
            return ""
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=patience_s)
    except (AssertionError, subprocess.TimeoutExpired):
        return f"not done after {patience_s:.0f} s"
    return "" if done.returncode in work.good else done.stderr.strip()[-300:]
