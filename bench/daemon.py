"""The daemon's memory with one microphone, its capture child included, beside a bare process that holds the same model.

    python -m bench.daemon [--seconds 60]

Needs mosquitto, and PulseAudio with ALSA's pulse plugin for a real PortAudio stream (see tests/sound_server.py).
Alone, it also prints the share of a core over `--seconds`; many machines and alerts are in bench/load.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from bench.node import Family, configuration, enrol, running, sounds
from bench.part import need
from bench.rows import NotMeasuredError, Row, cost_row
from tests.broker import Broker
from tests.sound_server import missing, sound_server

SETTLING_S = 20.0  # the first window, the index, the first score
SAMPLES = 6
# The embedded bundle loaded and run once, then idle until its input ends.
BARE = """
import sys
from pathlib import Path
import numpy as np
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
encoder = Encoder(find_bundle("spectral", base=Path.cwd()), threads=1)
encoder.embed(np.zeros((1, encoder.window_samples), np.float32) + 0.1)
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a daemon took, beside the bare process."""

    rss_mb: tuple[float, ...]  # each sample: daemon and capture child
    pss_mb: tuple[float, ...]  # the same with shared pages counted once
    bare_mb: tuple[float, ...]  # resident, of the bare process, beside each
    cpu_share: float  # of one core


def footprint(folder: Path, seconds: float) -> Footprint:
    """Return the memory and CPU of a daemon with one microphone, over `seconds` after it has settled."""
    healthy, played = sounds(folder, healthy_s=120.0)
    bare = subprocess.Popen([sys.executable, "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert bare.stdout is not None
    bare.stdout.readline()
    idle = psutil.Process(bare.pid)
    with Broker(folder) as broker, sound_server() as server:
        config = configuration(folder, port=broker.port, machines=1)
        enrol(config, healthy, 1)
        player = server.play(played)
        with running(config) as daemon:
            time.sleep(SETTLING_S)
            family = Family.of(daemon)
            before_s, rss, pss, alone = family.cpu_s(), [], [], []
            for _ in range(SAMPLES):
                time.sleep(seconds / SAMPLES)
                rss.append(family.rss_mb())
                pss.append(family.pss_mb())
                alone.append(idle.memory_info().rss / 1e6)
            cpu_s = family.cpu_s() - before_s
        player.terminate()
        player.wait(10.0)
    bare.communicate(timeout=10.0)
    return Footprint(tuple(rss), tuple(pss), tuple(alone), cpu_s / seconds)


def measure(seconds: float) -> list[Row]:
    """Return the row."""
    need("mosquitto")
    if lacking := missing():
        raise NotMeasuredError(f"needs {lacking}")
    with tempfile.TemporaryDirectory() as name:
        found = footprint(Path(name), seconds)
    what, beside = "memory of the daemon, one microphone", "a process with the encoder alone"
    note = f"RSS with the capture child; shared pages once: {np.median(found.pss_mb):.0f} MB"
    return [cost_row(what, found.rss_mb, beside, found.bare_mb, unit="MB", note=note)]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        found = footprint(Path(name), seconds)
    print("| one microphone, hop 1 s | |\n|---|--:|")
    print(f"| RSS, daemon + capture child | {max(found.rss_mb):.0f} MB |")
    print(f"| PSS (shared pages counted once) | {max(found.pss_mb):.0f} MB |")
    print(f"| RSS of a process with the encoder alone | {max(found.bare_mb):.0f} MB |")
    print(f"| CPU, share of one core over {seconds:.0f} s | {100 * found.cpu_share:.1f} % |")


if __name__ == "__main__":
    main()
