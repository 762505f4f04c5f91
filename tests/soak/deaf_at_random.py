"""A node is made deaf at random, by one or two ways of the drill at once, and watched by an oracle all the time.

Never is a deaf machine called `normal`, never is an alert lost, always is a machine heard again.
"""

from __future__ import annotations

import json
import random
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import psutil

from edge_monitor.errors import ControlError
from tests.broker import wait_until
from tests.faults.drill import SOUND, WAYS, Way
from tests.faults.ear import BACK_S, RATTLING
from tests.faults.oracle import BASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.ear import Ear

MACHINES = ("pump", "fan", "mill")
_PROBE_S = 30.0  # a machine that rattles alarms within this
_LONGEST_S = 10.0  # that it stays as it is once it is told; threads that hang are let go before they end the daemon
_BOTH = 0.5  # of the rounds: two ways at once
_LOOK_S = 0.5
_PATIENCE_S = 2.0  # with an API that hangs
_WARM_UP = 0.25  # of the run: caches and the allocator's pools fill up, the first reloads cost 10 MB for good
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Trial:
    """A way, and the machine that it is done to."""

    way: Way
    machine: str

    @property
    def deafens(self) -> tuple[str, ...]:
        """Return the machines that must not be `normal`."""
        if self.way.state in {"normal", "alarm"}:
            return ()
        return MACHINES if self.way.node else (self.machine,)

    def __str__(self) -> str:
        """Return it as a person names it."""
        return self.way.name if self.way.node else f"{self.machine}: {self.way.name}"


@dataclass
class Report:
    """What happened."""

    seed: int
    rounds: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    rss_mb: list[tuple[float, float]] = field(default_factory=list)  # seconds since the beginning, MB
    seconds: float = 0.0
    committed: int = 0
    alarms: int = 0
    ways: set[str] = field(default_factory=set)

    def rss_at(self, at_s: float) -> float:
        """Return the median resident memory in the half minute before a moment, MB; 0.0 before the first look."""
        return float(np.median([rss for when_s, rss in self.rss_mb if at_s - 30.0 < when_s <= at_s] or [0.0]))

    @property
    def rss_growth_mb(self) -> float:
        """Return how much larger the median of the last third is than that of the first third, after the warm-up."""
        rss = [rss for when_s, rss in self.rss_mb if when_s >= self.seconds * _WARM_UP]
        third = max(1, len(rss) // 3)
        return float(np.median(rss[-third:]) - np.median(rss[:third]))

    def __str__(self) -> str:
        """Return the figures as a Markdown table."""
        early_s, rss_mb = min(120.0, self.seconds), self.rss_at(self.seconds)
        rows = {
            "seed": f"{self.seed} (EDGE_MONITOR_SOAK_SEED repeats it)",
            "rounds": f"{len(self.rounds)} in {self.seconds / 60:.1f} min, {len(self.ways)} of {len(WAYS)} ways",
            "alarms / messages committed, all arrived": f"{self.alarms} / {self.committed}",
            f"RSS after {early_s:.0f} s / at the end": f"{self.rss_at(early_s):.1f} / {rss_mb:.1f} MB",
            "RSS growth, first to last third": f"{self.rss_growth_mb:+.2f} MB",
            "violations": "; ".join(self.violations) or "none",
        }
        return "\n".join(
            ["| deaf at random | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
        )


def deafen_at_random(ear: Ear, seed: int, seconds: float, *, slow: bool) -> Report:
    """Make the node deaf, mend it and have a machine fail, in turns, for about so long; `slow`: by all ways."""
    draw = random.Random(seed)  # noqa: S311 - what to break is no secret
    report = Report(seed)
    began_s = time.monotonic()
    with _memory_watched(ear, report, began_s):
        _all_normal(ear, report, "the start")
        while time.monotonic() - began_s < seconds:
            trials = _drawn(draw, slow=slow)
            told = " and ".join(map(str, trials))
            at_s = time.monotonic() - began_s
            print(f"{at_s:7.1f} s {report.rss_at(at_s):6.1f} MB  {told}", flush=True)  # noqa: T201 - to be followed
            report.rounds.append(told)
            report.ways |= {trial.way.name for trial in trials}
            _round(ear, report, trials, draw.uniform(0.0, _LONGEST_S))
            _all_normal(ear, report, told)
            _probe(ear, report, draw.choice(MACHINES), told)
            _all_normal(ear, report, told)
        report.seconds = time.monotonic() - began_s
    report.committed, report.alarms = len(ear.plant.committed()), len(ear.plant.alarms())
    return report


def _drawn(draw: random.Random, *, slow: bool) -> list[Trial]:
    """Return what to do at once: a way, and in half of the cases one to the sound before it."""
    trials = [Trial(draw.choice([way for way in WAYS if slow or not way.slow]), draw.choice(MACHINES))]
    if draw.random() < _BOTH:
        other = Trial(draw.choice([way for way in SOUND if slow or not way.slow]), draw.choice(MACHINES))
        if trials[0].way.node or other.machine != trials[0].machine:
            trials.insert(0, other)
    return trials


def _round(ear: Ear, report: Report, trials: list[Trial], stays_s: float) -> None:
    for trial in trials:
        trial.way.deafen(ear, trial.machine)
    began_s = time.monotonic()
    deaf = {machine for trial in trials for machine in trial.deafens}
    limit_s = max(trial.way.limit_s for trial in trials)
    what = " and ".join(map(str, trials))
    try:
        wait_until(lambda: not _said_normal(ear, deaf), limit_s, "")
        if len(trials) == 1 and deaf:
            wait_until(lambda: _shown(ear, trials[0]) == trials[0].way.state, limit_s, "")
    except AssertionError:
        report.violations.append(f"{what}: {_said_normal(ear, deaf) or 'another state'} after {limit_s:.0f} s")
    heard = len(ear.plant.scada.messages)
    until_s = min(time.monotonic() + stays_s, began_s + 30.0 if any(trial.way.ends for trial in trials) else np.inf)
    while time.monotonic() < until_s:
        time.sleep(_LOOK_S)
        for machine in _said_normal(ear, deaf) | _told_normal(ear, deaf, since=heard):
            report.violations.append(f"{what}: {machine} was called normal")
    for trial in reversed(trials):
        trial.way.mend(ear, trial.machine)
    if ear.ended() is not None:
        report.violations.append(f"{what}: the daemon ended")
        ear.plant.start()


def _said_normal(ear: Ear, machines: set[str]) -> set[str]:
    """Return which of these machines the daemon calls normal; if it does not answer, what the plant was told."""
    if not machines:
        return set()
    try:
        states = {each["machine"]: each["state"] for each in ear.plant.product.status(_PATIENCE_S)["machines"]}
    except ControlError:
        states = {machine: ear.told(machine)["state"] for machine in machines}
    return {machine for machine in machines if states[machine] == "normal"}


def _shown(ear: Ear, trial: Trial) -> str:
    return ear.shown(trial.machine)[0]


def _told_normal(ear: Ear, machines: set[str], *, since: int) -> set[str]:
    """Return which of these machines the plant was told to be normal, in its messages from that one on."""
    topics = {f"{BASE}/{machine}/state": machine for machine in machines}
    return {
        topics[message.topic]
        for message in ear.plant.scada.messages[since:]
        if message.topic in topics and json.loads(message.payload)["state"] == "normal"
    }


def _all_normal(ear: Ear, report: Report, after: str) -> None:
    """Have all machines run well, and take note of those that are not normal in time."""
    for machine in MACHINES:
        ear.hear(machine)
    try:
        wait_until(lambda: all(ear.told(machine)["state"] == "normal" for machine in MACHINES), BACK_S, "")
    except AssertionError:
        states = {machine: ear.told(machine)["text"] for machine in MACHINES}
        report.violations.append(f"after {after}: not all normal within {BACK_S:.0f} s: {states}")


def _probe(ear: Ear, report: Report, machine: str, after: str) -> None:
    """Have a machine fail, and take note when no alarm comes."""
    ear.hear(machine, sound=RATTLING)
    try:
        ear.wait_for("alarm", _PROBE_S, machine)
    except AssertionError:
        report.violations.append(f"after {after}: {machine} failed unheard: {ear.told(machine)['text']}")


@contextmanager
def _memory_watched(ear: Ear, report: Report, began_s: float) -> Iterator[None]:
    """Measure the daemon's memory beside the body."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_S):
            assert ear.plant.daemon is not None
            with suppress(psutil.NoSuchProcess):  # it has ended, which is noted elsewhere
                rss = psutil.Process(ear.plant.daemon.process.pid).memory_info().rss
                report.rss_mb.append((time.monotonic() - began_s, rss / _MB))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        done.set()
        looking.join()
