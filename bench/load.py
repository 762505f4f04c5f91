"""A full box: many machines heard by one daemon in real time, and a backlog of alerts drained to the broker.

    python bench/load.py [--machines 32] [--minutes 10] [--alerts 10000]

Needs mosquitto, PulseAudio and ALSA's pulse plugin. The sound of a simulated pump, healthy and failing in turns, is
played into a real PortAudio stream that all machines share: it cannot be held back, so what is too slow is dropped and
counted, and all windows are complete at the same moment, the worst case. Latency runs from the end of the confirming
window to the message at a subscriber.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.daemon import command, configure, enrol, sounds  # noqa: E402 - the path comes first
from edge_monitor import database  # noqa: E402 - as above
from edge_monitor.deliver.outbox import Outbox  # noqa: E402 - as above
from tests.broker import Broker, Subscriber, wait_until  # noqa: E402 - as above
from tests.sound_server import sound_server  # noqa: E402 - as above

START_S = 30.0  # before the index and the first window of every machine are there
ALERT = b'{"alarm_id":"0b9d3c1e-6f0a-4a53-9c1b-2f6a3f0f7a11","pad":"' + b"x" * 1400 + b'"}'  # a real alert's size
BACKLOG = "edge-monitor/v1/bench/edge/m0/alert"


def status(config: Path) -> dict[str, Any]:
    """Return what the daemon says of itself."""
    done = subprocess.run(command(config, "status", "--json"), check=True, capture_output=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def load(folder: Path, machines: int, minutes: float) -> None:
    """Print drops, latency, CPU and memory of a daemon with so many machines."""
    healthy, played = sounds(folder)
    with Broker(folder) as broker, sound_server() as server, Subscriber(broker.port, "+/+/+/+/+/alert") as scada:
        config = configure(folder, broker.port, machines)
        enrol(config, healthy, machines)
        daemon = psutil.Popen(command(config, "run"), stderr=subprocess.DEVNULL)
        time.sleep(START_S)
        family = [daemon, *daemon.children(recursive=True)]
        before_s = [sum(process.cpu_times()[:2]) for process in family]
        before = status(config)
        rss_mb: list[float] = []
        began_s = time.monotonic()
        player = server.play(played)
        while time.monotonic() - began_s < minutes * 60.0:
            time.sleep(1.0)
            rss_mb.append(sum(process.memory_info().rss for process in family) / 1e6)
            if player.poll() is not None:
                player = server.play(played)
        seconds = time.monotonic() - began_s
        cpu_s = sum(sum(process.cpu_times()[:2]) for process in family) - sum(before_s)
        after = status(config)
        player.terminate()
        player.wait(10.0)
        daemon.terminate()
        daemon.wait(10.0)
    starts = [
        message.at_ns / 1e6 - payload["window_end_s"] * 1e3
        for message in scada.messages
        if (payload := json.loads(message.payload))["event"] == "start"
    ]
    with closing(database.connect(folder / "state" / database.FILE_NAME, read_only=True)) as connection:
        windows = connection.execute("SELECT sum(windows) FROM score_minutes").fetchone()[0]
    dropped = {key: after[key] - before[key] for key in ("dropped_frames", "dropped_windows")}
    p50, p99 = np.percentile(starts, (50, 99))
    print(f"| {machines} machines, hop 1 s, {seconds / 60:.1f} min on {os.cpu_count()} cores | |\n|---|--:|")
    print(f"| dropped frames / windows | {dropped['dropped_frames']} / {dropped['dropped_windows']} |")
    print(f"| windows scored | {windows} |")
    print(f"| alert latency p50 / p99 / max, {len(starts)} alerts | {p50:.0f} / {p99:.0f} / {max(starts):.0f} ms |")
    print(f"| CPU, share of one core | {100 * cpu_s / seconds:.0f} % |")
    print(f"| RSS with the capture child, at the start / at most | {rss_mb[0]:.0f} / {max(rss_mb):.0f} MB |\n")


def drain(folder: Path, alerts: int) -> None:
    """Print how fast the whole daemon empties an outbox of so many alerts."""
    with Broker(folder, "max_queued_messages 0") as broker, Subscriber(broker.port, BACKLOG) as scada:
        config = folder / "edge-monitor.toml"
        config.write_text(
            f'[node]\nsite = "bench"\nname = "edge"\nstate_dir = "state"\n[mqtt]\nhost = "127.0.0.1"\n'
            f'port = {broker.port}\n[[machine]]\nname = "m0"\nsource = {{ kind = "simulator" }}\n'
        )
        (folder / "state").mkdir()
        with closing(database.connect(folder / "state" / database.FILE_NAME)) as connection:
            outbox = Outbox(connection)
            with database.transaction(connection):
                for number in range(alerts):
                    outbox.enqueue(BACKLOG, ALERT, alarm_id=str(number), seq=0, created_ms=0)
        daemon = psutil.Popen(command(config, "run"), stderr=subprocess.DEVNULL)
        wait_until(lambda: len(scada.messages) >= alerts, 600.0, "the backlog at the subscriber")
        seconds = (scada.messages[alerts - 1].at_ns - scada.messages[0].at_ns) / 1e9
        rss_mb = daemon.memory_info().rss / 1e6
        daemon.terminate()
        daemon.wait(10.0)
    print(f"| {alerts} queued alerts of {len(ALERT)} B drained by the daemon | |\n|---|--:|")
    print(f"| rows/s | {(alerts - 1) / seconds:.0f} |\n| RSS at the end | {rss_mb:.0f} MB |")


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--alerts", type=int, default=10_000)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        for folder in ("drain", "load"):
            (Path(name) / folder).mkdir()
        drain(Path(name) / "drain", asked.alerts)
        load(Path(name) / "load", asked.machines, asked.minutes)


if __name__ == "__main__":
    main()
