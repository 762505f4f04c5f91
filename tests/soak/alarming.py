"""A node with eight machines that alarm every few seconds and one that is quiet, and how long its commits take."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from edge_monitor.capture.simulator import RATE_HZ
from edge_monitor.store.database import FILE_NAME
from tests.faults.oracle import Plant
from tests.faults.preload import preloaded
from tests.product import Product
from tests.sounds import pump

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("pump", *(f"m{number}" for number in range(1, 8)))  # they alarm
QUIET = "quiet"  # what the operations work on: its normals and generations change
PACE = 4.0
RETENTION_DAYS = 30.0
_HEALTHY_S = _FAULTY_S = 12.0  # one alarm starts and ends in each turn, every 6 s or a little more at this pace
_LONGER_S = 0.7  # each machine's turn than that of the one before: now they alarm together, now apart
_MODEL = 'hop_s = 2.0\nscorer = "euclidean"'  # what a generation of thousands of normals is quickly calibrated for
_ALARM = "[machine.alarm]\nraise = [1, 1]\noff_delay_s = 0\nclear_ratio = 1.0"
_MACHINE = '[[machine]]\nname = "{name}"\nevidence = "off"\nsource = {source}\n{rest}'
_RECORDING = '{{ kind = "recording", path = "{path}", pace = {pace}, loop = true }}'
_LIVE = '{ kind = "simulator", machine = "pump", take = 1 }'
_EVENTS = {"alarm.started", "alarm.continued", "alarm.ended"}
_LOOK_S = 0.02  # how often the log's size is looked at
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Disk:
    """How slow the disk of the state directory is."""

    mb_per_s: float = 0.0  # that it takes, all processes together; 0: as many as it can
    fsync_s: float = 0.0  # of each fsync, besides what it takes anyway

    def __str__(self) -> str:
        """Return its name in reports."""
        if self == Disk():
            return "the disk as it is"
        return f"writes of {self.mb_per_s:g} MB/s" if self.mb_per_s else f"an fsync of {self.fsync_s:g} s"


@dataclass(frozen=True, slots=True)
class Commit:
    """One transition of an alarm on its way to the disk."""

    decided_s: float  # wall time, seconds since 1970-01-01 UTC
    took_s: float  # from the decision to the commit; both are known to the millisecond


def write_turns(folder: Path) -> None:
    """Write what each machine plays, `{name}.wav`: the healthy pump, then the rattling one."""
    healthy = pump(_HEALTHY_S + len(NAMES) * _LONGER_S, take=1)
    faulty = pump(_FAULTY_S, take=2, fault="rattle", fault_db=12.0)
    for number, name in enumerate(NAMES):
        frames = round((_HEALTHY_S + number * _LONGER_S) * RATE_HZ)
        sound = np.concatenate([healthy[:frames], faulty])
        soundfile.write(folder / f"{name}.wav", sound, RATE_HZ, subtype="PCM_16")


def source(turns: Path, name: str) -> str:
    """Return what a machine hears, as the configuration's inline table."""
    return _RECORDING.format(path=turns / f"{name}.wav", pace=PACE)


def further_machines(turns: Path) -> str:
    """Return the rest of the first machine's table, all others and the retention."""
    alarming = [_MACHINE.format(name=name, source=source(turns, name), rest=_ALARM) for name in NAMES[1:]]
    quiet = _MACHINE.format(name=QUIET, source=_LIVE, rest="")
    retention = f"[retention]\nalarm_days = {RETENTION_DAYS:g}"
    return "\n".join(['evidence = "off"', _ALARM, *alarming, quiet, retention])


def make_state(folder: Path, clips: Path, turns: Path) -> None:
    """Have every machine know the healthy pump, in the state directory below `folder`."""
    product = Product(folder, _LIVE, extra=further_machines(turns), model=_MODEL)
    exported = str(folder / "normals")
    steps = [("enroll", "--machine", NAMES[0], str(clips)), ("normals export", "--machine", NAMES[0], exported)]
    steps += [("normals import", "--machine", name, exported) for name in (*NAMES[1:], QUIET)]
    for verb, *arguments in steps:
        done = product.command(verb, *arguments)
        assert done.returncode == 0, done.stderr


def alarming(
    folder: Path, state: Path, turns: Path, *, disk: Disk | None = None, tidies_after_s: float = 60.0
) -> Plant:
    """Return a plant whose node alarms; not running yet. It begins its retention so many seconds after each start."""
    prefix: tuple[str, ...] = (sys.executable, str(HERE / "tidying.py"), str(tidies_after_s))
    if disk is not None:
        how = folder / "how"
        how.write_text(f"{disk.mb_per_s} {disk.fsync_s}")
        prefix = (*preloaded("slow_disk.c", folder, SLOW_DIR=folder / "state", SLOW_HOW=how), *prefix)
    return Plant(
        folder, state, turns, source=source(turns, NAMES[0]), extra=further_machines(turns), model=_MODEL, prefix=prefix
    )


def commits(plant: Plant) -> list[Commit]:
    """Return how long the commit of each transition took that was stored before anybody was told.

    The log says when it was committed, the message itself when it was decided.
    """
    assert plant.daemon is not None
    decided_ms = {}
    for row in plant.committed():
        payload = json.loads(row.payload)
        if row.topic.endswith("/alert") and payload["persisted"] == 1:
            decided_ms[row.alarm_id, row.seq] = payload["at_ms"]
    found = []
    for event in plant.daemon.events():
        at_ms = decided_ms.get((event["alarm_id"], event["seq"])) if event["event"] in _EVENTS else None
        if at_ms is not None:
            committed_s = datetime.fromisoformat(event["timestamp"]).timestamp()
            found.append(Commit(at_ms / 1000, committed_s - at_ms / 1000))
    return found


def told_from_memory(plant: Plant) -> set[str]:
    """Return the alarms of which something was told that was not stored at that moment."""
    alerts = [json.loads(message.payload) for message in plant.delivered() if message.topic.endswith("/alert")]
    return {alert["alarm_id"] for alert in alerts if alert["persisted"] == 0}


@dataclass
class Watch:
    """What is seen of a disk while others work: bare fsyncs beside them, and how large the log grows."""

    fsync_s: list[float] = field(default_factory=list)
    largest_wal_mb: float = 0.0

    @property
    def p99_s(self) -> float:
        """Return the 99th percentile of a bare write and fsync, seconds."""
        return float(np.percentile(self.fsync_s, 99))


@contextmanager
def watched(plant: Plant) -> Iterator[Watch]:
    """Watch the disk of a plant's state directory beside the body; the figures are complete after it."""
    seen, stop = Watch(), threading.Event()
    wal = plant.product.state / f"{FILE_NAME}-wal"

    def look() -> None:
        while not stop.wait(_LOOK_S):
            if wal.exists():
                seen.largest_wal_mb = max(seen.largest_wal_mb, wal.stat().st_size / 1e6)

    slow = [part for part in plant.prefix if part == "env" or "=" in part]
    argv = [*slow, sys.executable, str(HERE / "bare_fsync.py"), str(plant.product.state)]
    probe = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        stop.set()
        looking.join()
        probe.terminate()
        output, _ = probe.communicate(timeout=30)
        seen.fsync_s += map(float, output.split())
