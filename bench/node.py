"""A node to measure: its configuration, its sounds, the running daemon with its child, its alerts' latency."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import soundfile

from edge_monitor.capture.resampling import resample
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.broker import Received

RATE_HZ = 48_000
HEALTHY_S, FAULTY_S = 14, 14  # one alarm starts and ends in each turn
MICROPHONE = '{ kind = "microphone", device = "default" }'
ALERT = b'{"alarm_id":"0b9d3c1e-6f0a-4a53-9c1b-2f6a3f0f7a11","pad":"' + b"x" * 1400 + b'"}'  # a real alert's size


def configuration(folder: Path, *, port: int, machines: int, source: str = MICROPHONE) -> Path:
    """Write the configuration of so many machines on one source, each window an observation of its own."""
    lines = ['[node]\nsite = "bench"\nname = "edge"\nstate_dir = "state"']
    lines.append(f'[mqtt]\nhost = "127.0.0.1"\nport = {port}')
    lines.extend(
        f'[[machine]]\nname = "m{number}"\nsource = {source}\n'
        "[machine.alarm]\nraise = [1, 1]\noff_delay_s = 0\nclear_ratio = 1.0"
        for number in range(machines)
    )
    path = folder / "edge-monitor.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def command(config: Path, verb: str, *arguments: str) -> list[str]:
    """Return a command line of the product."""
    return [sys.executable, "-m", "edge_monitor", verb, "--config", str(config), *arguments]


def enrol(config: Path, clips: Sequence[Path], machines: int) -> None:
    """Enrol the same healthy clips for every machine."""
    for number in range(machines):
        arguments = ["--no-audibility", "--machine", f"m{number}", *map(str, clips)]
        subprocess.run(command(config, "enroll", *arguments), check=True, capture_output=True)


def sounds(folder: Path, *, healthy_s: float = 300.0, turns: int = 5) -> tuple[list[Path], Path]:
    """Write healthy clips to enrol, and a recording of alternately healthy and faulty sound to play."""
    healthy = write_clips(folder / "healthy", "healthy", resample(pump(healthy_s), 16_000, RATE_HZ), RATE_HZ)
    sound = [
        np.concatenate([pump(HEALTHY_S, take=take), pump(FAULTY_S, take=take, fault="rattle", fault_db=12.0)])
        for take in range(1, turns + 1)
    ]
    played = folder / "turns.wav"
    soundfile.write(played, resample(np.concatenate(sound), 16_000, RATE_HZ), RATE_HZ, subtype="PCM_16")
    return healthy, played


@dataclass(frozen=True, slots=True)
class Family:
    """A daemon and its capture children."""

    processes: tuple[psutil.Process, ...]

    @classmethod
    def of(cls, daemon: psutil.Process) -> Family:
        """Return a daemon with the children it has now."""
        return cls((daemon, *daemon.children(recursive=True)))

    def cpu_s(self) -> float:
        """Return the CPU time taken so far, seconds."""
        return float(sum(sum(process.cpu_times()[:2]) for process in self.processes))

    def rss_mb(self) -> float:
        """Return the resident memory, MB; what they share counts for each."""
        return float(sum(process.memory_info().rss for process in self.processes)) / 1e6

    def pss_mb(self) -> float:
        """Return the memory with shared pages counted once, MB."""
        return float(sum(process.memory_full_info().pss for process in self.processes)) / 1e6


@contextmanager
def running(config: Path) -> Iterator[psutil.Popen]:
    """Run a daemon."""
    daemon = psutil.Popen(command(config, "run"), stderr=subprocess.DEVNULL)
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(10.0)


def status(config: Path) -> dict[str, Any]:
    """Return what the daemon says of itself."""
    done = subprocess.run(command(config, "status", "--json"), check=True, capture_output=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def start_latencies_ms(messages: Sequence[Received]) -> list[float]:
    """Return how long after the end of its confirming window each alert's start came, ms.

    Stream time is the monotonic clock, which all processes of a box share.
    """
    return [
        message.at_ns / 1e6 - payload["window_end_s"] * 1e3
        for message in messages
        if (payload := json.loads(message.payload))["event"] == "start"
    ]
