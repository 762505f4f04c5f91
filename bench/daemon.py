"""The whole daemon at work: memory and CPU with one microphone, and how soon an alert is out.

    python bench/daemon.py [--seconds 60] [--machines 8] [--alerts 100]

Needs mosquitto, and PulseAudio with ALSA's pulse plugin for a real PortAudio stream (see tests/sound_server.py).
Latency runs from the end of the confirming window (stream time is the monotonic clock) to the message at a subscriber;
the microphone's own buffering is in it. All machines share the microphone, so their windows are complete at the same
moment and wait for one another: the worst case for so many machines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from edge_monitor.capture.resampling import resample  # noqa: E402 - the path comes first
from tests.broker import Broker, Subscriber  # noqa: E402 - as above
from tests.service.sounds import pump, write_clips  # noqa: E402 - as above
from tests.sound_server import sound_server  # noqa: E402 - as above

RATE_HZ = 48_000
HEALTHY_S, FAULTY_S = 14, 14  # one alarm starts and ends in each turn


def configure(folder: Path, port: int, machines: int) -> Path:
    """Write the configuration of so many machines on one microphone, each window an observation of its own."""
    lines = ['[node]\nsite = "bench"\nname = "edge"\nstate_dir = "state"']
    lines.append(f'[mqtt]\nhost = "127.0.0.1"\nport = {port}')
    lines.extend(
        f'[[machine]]\nname = "m{number}"\nsource = {{ kind = "microphone", device = "default" }}\n'
        "[machine.alarm]\nraise = [1, 1]\noff_delay_s = 0\nclear_ratio = 1.0"
        for number in range(machines)
    )
    path = folder / "edge-monitor.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def command(config: Path, verb: str, *arguments: str) -> list[str]:
    """Return a command line of the product."""
    return [sys.executable, "-m", "edge_monitor", verb, "--config", str(config), *arguments]


def enrol(config: Path, clips: list[Path], machines: int) -> None:
    """Enrol the same healthy clips for every machine."""
    for number in range(machines):
        arguments = ["--machine", f"m{number}", *map(str, clips)]
        subprocess.run(command(config, "enroll", *arguments), check=True, capture_output=True)


def sounds(folder: Path) -> tuple[list[Path], Path]:
    """Write healthy clips to enrol, and a recording of alternately healthy and faulty sound to play."""
    healthy = write_clips(folder / "healthy", "healthy", resample(pump(300), 16_000, RATE_HZ), RATE_HZ)
    turns = [
        np.concatenate([pump(HEALTHY_S, take=take), pump(FAULTY_S, take=take, fault="rattle", fault_db=12.0)])
        for take in range(1, 6)
    ]
    played = folder / "turns.wav"
    soundfile.write(played, resample(np.concatenate(turns), 16_000, RATE_HZ), RATE_HZ, subtype="PCM_16")
    return healthy, played


def footprint(folder: Path, seconds: float, healthy: list[Path], played: Path) -> None:
    """Print memory and CPU of a daemon with one microphone, its capture child included."""
    with Broker(folder) as broker, sound_server() as server:
        config = configure(folder, broker.port, 1)
        enrol(config, healthy, 1)
        server.play(played)
        daemon = psutil.Popen(command(config, "run"), stderr=subprocess.DEVNULL)
        time.sleep(20.0)  # the first window, the index, the first score
        family = [daemon, *daemon.children(recursive=True)]
        before = [sum(process.cpu_times()[:2]) for process in family]
        time.sleep(seconds)
        cpu_s = sum(sum(process.cpu_times()[:2]) for process in family) - sum(before)
        memory = [process.memory_full_info() for process in family]
        daemon.terminate()
        daemon.wait(10)
    print("| one microphone, hop 1 s | |\n|---|--:|")
    print(f"| RSS, daemon + capture child | {sum(each.rss for each in memory) / 1e6:.0f} MB |")
    print(f"| PSS (shared pages counted once) | {sum(each.pss for each in memory) / 1e6:.0f} MB |")
    print(f"| CPU, share of one core over {seconds:.0f} s | {100 * cpu_s / seconds:.1f} % |\n")


def latency(folder: Path, machines: int, alerts: int, healthy: list[Path], played: Path) -> None:
    """Print how long after the end of the confirming window an alert arrives at a subscriber."""
    with Broker(folder) as broker, sound_server() as server, Subscriber(broker.port, "+/+/+/+/+/alert") as scada:
        config = configure(folder, broker.port, machines)
        enrol(config, healthy, machines)
        daemon = subprocess.Popen(command(config, "run"), stderr=subprocess.DEVNULL)
        late_ms: list[float] = []
        deadline_s = time.monotonic() + 600.0
        while len(late_ms) < alerts and time.monotonic() < deadline_s:
            server.play(played).wait(300.0)
            late_ms = [
                message.at_ns / 1e6 - payload["window_end_s"] * 1e3
                for message in list(scada.messages)
                if (payload := json.loads(message.payload))["event"] == "start"
            ]
        daemon.terminate()
        daemon.wait(10)
    p50, p99 = np.percentile(late_ms, (50, 99))
    print(f"| window end to subscriber, {machines} machines at once, {len(late_ms)} alerts | |\n|---|--:|")
    print(f"| p50 / p99 / max | {p50:.0f} / {p99:.0f} / {max(late_ms):.0f} ms |\n")


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--machines", type=int, default=8)
    parser.add_argument("--alerts", type=int, default=40)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        healthy, played = sounds(Path(folder))
        for name in ("one", "many"):
            (Path(folder) / name).mkdir()
        footprint(Path(folder) / "one", asked.seconds, healthy, played)
        latency(Path(folder) / "many", asked.machines, asked.alerts, healthy, played)


if __name__ == "__main__":
    main()
