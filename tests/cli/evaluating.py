"""`edge-monitor evaluate` as a process, and small data sets for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.evaluate.sets import noise, write

REPOSITORY = Path(__file__).parent.parent.parent


def argv(*arguments: str | Path) -> list[str]:
    """Return a command line of `edge-monitor evaluate`."""
    return [sys.executable, "-m", "edge_monitor", "evaluate", *map(str, arguments)]


def environment(cache: Path) -> dict[str, str]:
    """Return the variables of a user whose cache lies in `cache`."""
    mine = {key: value for key, value in os.environ.items() if key != "EDGE_MONITOR_CONFIG"}
    return {**mine, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(cache)}


def evaluate(*arguments: str | Path, cwd: Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `edge-monitor evaluate …`, by default with a cache in `cwd`."""
    variables = environment(cache or cwd / "cache")
    return subprocess.run(
        argv(*arguments), cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=100
    )


def make(folder: Path, *, train: int = 6, machine: str = "pump") -> Path:
    """Write a DCASE 2020 set of one machine id: normal clips to learn, three to test, three louder ones."""
    for number in range(train):
        write(folder / f"{machine}/train/normal_id_00_{number:08d}.wav", noise(number, 2.0))
    for number in range(3):
        write(folder / f"{machine}/test/normal_id_00_{train + number:08d}.wav", noise(500 + number, 2.0))
        write(folder / f"{machine}/test/anomaly_id_00_{number:08d}.wav", 3.0 * noise(600 + number, 2.0))
    return folder
