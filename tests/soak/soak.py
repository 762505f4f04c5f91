"""A long run of the daemon with outages of broker and LLM, and what it cost: memory, descriptors, threads, WAL."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import psutil

from edge_monitor.store.database import FILE_NAME
from tests.llm_server import refuses, resets, says, stalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.oracle import Plant
    from tests.llm_server import LlmServer

DAY_S = 86_400.0
WARM_UP = 0.25  # of the run: caches, the allocator's pools and the first backlog fill up
_SAMPLE_S = 0.5
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment."""

    at_s: float  # since the beginning, by the clock on the wall
    rss_mb: float
    descriptors: int
    threads: int
    wal_mb: float


@dataclass
class Report:
    """What a soak measured."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0  # by the clock on the wall
    stream_s: float = 0.0
    alarms: int = 0
    committed: int = 0
    outages: int = 0

    @property
    def warm(self) -> list[Sample]:
        """Return the samples after the warm-up."""
        return [sample for sample in self.samples if sample.at_s >= self.seconds * WARM_UP]

    @property
    def pace(self) -> float:
        """Return how many times faster than real time it went."""
        return self.stream_s / self.seconds

    @property
    def rss_slope_mb_per_day(self) -> float:
        """Return the slope of a straight line through the resident memory after the warm-up, MB per stream day."""
        days = [sample.at_s * self.pace / DAY_S for sample in self.warm]
        return float(np.polyfit(days, [sample.rss_mb for sample in self.warm], 1)[0])

    @property
    def rss_growth_mb(self) -> float:
        """Return how much larger the median of the last third is than that of the first third, after the warm-up."""
        rss = [sample.rss_mb for sample in self.warm]
        third = max(1, len(rss) // 3)
        return float(np.median(rss[-third:]) - np.median(rss[:third]))

    def ends(self, of: Callable[[Sample], float]) -> tuple[float, float]:
        """Return the largest value in the first and in the last third after the warm-up."""
        values = [of(sample) for sample in self.warm]
        third = max(1, len(values) // 3)
        return max(values[:third]), max(values[-third:])

    def __str__(self) -> str:
        """Return the figures as a Markdown table."""
        hours = self.seconds / 3600
        rows = {
            "stream time": f"{self.stream_s / DAY_S:.2f} days in {hours:.2f} h, {self.pace:.0f} x real time",
            "alarms / messages committed / outages": f"{self.alarms} / {self.committed} / {self.outages}",
            "RSS, start of warm part / end": f"{self.warm[0].rss_mb:.1f} / {self.warm[-1].rss_mb:.1f} MB",
            "RSS slope": f"{self.rss_slope_mb_per_day:+.2f} MB per stream day",
            "RSS growth, first to last third": f"{self.rss_growth_mb:+.2f} MB",
            "descriptors, most in first / last third": "{:.0f} / {:.0f}".format(*self.ends(lambda s: s.descriptors)),
            "threads, most in first / last third": "{:.0f} / {:.0f}".format(*self.ends(lambda s: s.threads)),
            "WAL, most in first / last third": "{:.1f} / {:.1f} MB".format(*self.ends(lambda s: s.wal_mb)),
        }
        return "\n".join(["| soak | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def soak(plant: Plant, llm: LlmServer, *, stream_s: float, outage_s: float, hop_s: float) -> Report:
    """Let the plant's node hear `stream_s` seconds of sound; something fails every `outage_s` seconds, for as long."""
    report = Report()
    began_s = changed_s = time.monotonic()
    troubles = _troubles(plant, llm)
    end: Callable[[], object] = next(troubles)
    failing = True
    assert plant.daemon is not None
    daemon = psutil.Process(plant.daemon.process.pid)
    while report.stream_s < stream_s:
        time.sleep(_SAMPLE_S)
        assert plant.daemon.process.poll() is None, plant.daemon.log.read_text()[-2000:]
        if time.monotonic() - changed_s > outage_s:
            changed_s = time.monotonic()
            if failing:
                end()
            else:
                end = next(troubles)
                report.outages += 1
            failing = not failing
        report.samples.append(_sample(plant, daemon, time.monotonic() - began_s))
        heard_s = _heard_s(plant, hop_s)
        if heard_s > report.stream_s:  # the daemon writes it down twice a minute
            report.stream_s, report.seconds = heard_s, time.monotonic() - began_s
    if failing:
        end()
    report.alarms = plant.product.rows("SELECT count(*) FROM alarms")[0][0]
    report.committed = len(plant.committed())
    return report


def _troubles(plant: Plant, llm: LlmServer) -> Iterator[Callable[[], object]]:
    """Break one thing after the other; each yields what mends it."""

    def well() -> None:
        llm.play(says("This sound is rougher than the normal ones."))

    while True:
        plant.broker.stop()
        yield plant.broker.start
        llm.play(refuses(500))
        yield well
        plant.broker.freeze()
        yield plant.broker.thaw
        llm.play(stalls(5.0), resets())
        yield well
        llm.play(refuses(429, retry_after="2"), says(None), resets())
        yield well


def _heard_s(plant: Plant, hop_s: float) -> float:
    """Return how much sound was scored, seconds: a window every `hop_s`."""
    return hop_s * float(plant.product.rows("SELECT coalesce(sum(windows), 0) FROM score_minutes")[0][0])


def _sample(plant: Plant, daemon: psutil.Process, at_s: float) -> Sample:
    wal = plant.product.state / f"{FILE_NAME}-wal"
    with daemon.oneshot():
        return Sample(
            at_s=at_s,
            rss_mb=daemon.memory_info().rss / _MB,
            descriptors=daemon.num_fds(),
            threads=daemon.num_threads(),
            wal_mb=wal.stat().st_size / _MB if wal.exists() else 0.0,
        )
