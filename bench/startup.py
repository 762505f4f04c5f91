"""Start-up: `edge-monitor --help` beside a bare Python, and a daemon's first scored window beside its libraries alone.

python -m bench.startup

The daemon plays a recording as fast as it goes, so that the first window's ten seconds are not waited for; scored is
what its log calls the state `normal`. Nobody answers at its broker's address, as before the network is up.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.node import command, configuration, enrol
from bench.pairs import in_turns
from bench.rows import Row, cost_row, markdown
from tests.broker import free_port
from tests.sounds import pump, write_clips

LIBRARIES = "import numpy, onnxruntime, hnswlib, paho.mqtt.client, pydantic, soundfile, soxr, structlog"
SCORED = b"normal"


def measure(seconds: float) -> list[Row]:
    """Return the rows of the command line and of the daemon."""
    taken = in_turns(
        lambda: python("-m", "edge_monitor", "--help"),
        lambda: python("-c", "import click"),
        seconds=seconds / 3.0,
    )
    rows = [cost_row("start-up, `--help`", taken[:, 0], "Python and click alone", taken[:, 1], unit="ms", scale=1e3)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = write_clips(folder / "clips", "healthy", pump(120))
        source = f'{{ kind = "recording", path = "{folder / "clips"}", pace = "max" }}'
        config = configuration(folder, port=free_port(), machines=1, source=source)
        enrol(config, clips, 1)
        taken = in_turns(
            lambda: first_scored(config),
            lambda: python("-c", LIBRARIES),
            seconds=2.0 * seconds / 3.0,
        )
    what = "start-up, daemon to the first scored window"
    return [*rows, cost_row(what, taken[:, 0], "its libraries alone", taken[:, 1], unit="ms", scale=1e3)]


def python(*arguments: str) -> None:
    """Run this Python with these arguments, to its end."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def first_scored(config: Path) -> None:
    """Start a daemon, wait until it has scored a window, and end it."""
    daemon = subprocess.Popen(command(config, "run"), stderr=subprocess.PIPE)
    assert daemon.stderr is not None
    try:
        for line in daemon.stderr:
            if b"machine.state_changed" in line and SCORED in line:
                return
        raise RuntimeError("the daemon ended without having scored a window")
    finally:
        daemon.kill()
        daemon.wait(10.0)
        daemon.stderr.close()


if __name__ == "__main__":
    print(markdown(measure(45.0)))
