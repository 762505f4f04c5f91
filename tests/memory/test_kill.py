"""Power cuts while enrolling: what was committed is there, and nothing is there by half."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edge_monitor.memory.generations import list_generations
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.store import database

if TYPE_CHECKING:
    from pathlib import Path

# Enrols recordings of 200 windows for ever, a generation and its index after each, and says what it has finished.
_ENROL = """
import sys
from pathlib import Path
import numpy as np
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.generations import build_generation
from edge_monitor.memory.normal import NewNormal
from edge_monitor.memory.changes import add
from edge_monitor.memory.normal import NewRecording
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.store.store import Store

state = Path(sys.argv[1])
store = Store(state / "edge-monitor.db")
draw = np.random.default_rng(0)
for number in range(10_000):
    windows = [
        NewNormal(i // 3, 10.0 * i, -30.0, draw.standard_normal(64).astype(np.float32), spectrogram=bytes(4000))
        for i in range(200)
    ]
    add(store, "pump-3", NewRecording(f"{number}.wav", str(number), 2000.0, windows), bundle_hash="a" * 64)
    print("recording", number, flush=True)
    build_generation(store, "pump-3", bundle_hash="a" * 64, spec=MetricSpec(), gate_dbfs=None,
                     settings=CalibrationSettings(10.0), reason="enroll")
    print("generation", number + 1, flush=True)
    with store.reading() as connection:
        load_scorer(connection, "pump-3", state)
"""


@pytest.mark.parametrize("seed", range(6))
def test_kill_leaves_no_half_row(tmp_path: Path, seed: int) -> None:
    """SIGKILL at a seeded moment: recordings are whole or absent, finished ones are kept, the scorer loads."""
    child = subprocess.Popen([sys.executable, "-c", _ENROL, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "recording 0\n"
    assert child.stdout.readline() == "generation 1\n"
    time.sleep(random.Random(seed).uniform(0.0, 0.4))  # noqa: S311 - a seeded moment, not a secret
    child.kill()
    said = child.stdout.read().split("\n")[:-1]  # whole lines only
    child.stdout.close()
    child.wait()

    connection = database.connect(tmp_path / "edge-monitor.db")
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchone() is None
    store = Normals(connection, "pump-3")
    recordings = store.recordings()
    assert {recording.normals for recording in recordings} == {200}
    assert len(recordings) >= 1 + sum(line.startswith("recording") for line in said)
    generations = list_generations(connection, "pump-3")
    assert len(generations) >= 1 + sum(line.startswith("generation") for line in said)
    assert [len(g.members) for g in generations] == [200 * (i + 1) for i in range(len(generations))]
    assert [g.active for g in generations] == [False] * (len(generations) - 1) + [True]
    scorer = load_scorer(connection, "pump-3", tmp_path)
    assert scorer is not None
    assert scorer.generation.number == len(generations)
    assert not scorer.index_source.startswith("exact")
    connection.close()
