"""Work beside the audio never holds the interpreter for long: the pipeline's thread shares it with everything else."""

from __future__ import annotations

import io
import re
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.difference import compare, spread_of
from edge_monitor.explain.picture import Panel, draw
from edge_monitor.explain.spectrogram import compact, expand
from edge_monitor.memory.calibration import CalibrationSettings, calibrate
from edge_monitor.memory.index import HnswIndex
from edge_monitor.memory.leaveout import Layout
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import SCORING_METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_S = 0.05  # a hop is a second, and a window takes 10 to 30 ms
TICK_S = 0.001
TRIES = 10  # a busy box may hold a thread up as long; what holds the interpreter does so every time
NORMALS = 1440  # four hours of windows of 10 s
RATE_HZ = 48_000
NOISE = np.random.default_rng(0).normal(0.0, 0.05, 10 * RATE_HZ).astype(np.float32)
VECTORS = np.random.default_rng(1).standard_normal((NORMALS, 256)).astype(np.float32)
ORDER = np.arange(NORMALS)
LAYOUT = Layout(recording=ORDER // 30, block=ORDER // 3, start_s=(ORDER % 30 * 10).astype(np.float64))


def longest_hold_s(work: Callable[[], object]) -> float:
    """Return for how long another thread waited at most while `work` ran, seconds."""
    waits: list[float] = []
    done = threading.Event()

    def tick() -> None:
        last_s = time.perf_counter()
        while not done.is_set():
            time.sleep(TICK_S)
            now_s = time.perf_counter()
            waits.append(now_s - last_s - TICK_S)
            last_s = now_s

    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        work()
    finally:
        done.set()
        ticking.join()
    return max(waits)


def picture() -> bytes:
    """Measure and draw an alarm as the measuring worker does."""
    measured = measure(NOISE, RATE_HZ)
    normals = [measure(np.roll(NOISE, number) * np.float32(1 + number / 10), RATE_HZ) for number in range(6)]
    findings = compare(measured, normals[:4], spread_of(normals)).findings
    panel = Panel("noise", expand(compact(NOISE, RATE_HZ)))
    return draw("head", "subtitle", panel, panel, findings)


def sound() -> None:
    """Write sound as it is kept with an alarm."""
    soundfile.write(io.BytesIO(), np.tile(NOISE, 3), RATE_HZ, format="FLAC", subtype="PCM_24")


def fit_with(method: str) -> Callable[[], object]:
    """Return what calibrates a machine that was enrolled for four hours."""
    spec = MetricSpec("standardized-euclidean", bands=128, scorer=method)
    return lambda: calibrate(VECTORS, LAYOUT, spec, CalibrationSettings(window_s=10.0))


WORK: dict[str, Callable[[], object]] = {
    "a picture": picture,
    "the sound": sound,
    "an index": lambda: HnswIndex.build(VECTORS, 4),
    **{method: fit_with(method) for method in SCORING_METHODS},
}


@pytest.mark.parametrize("name", WORK)
def test_nothing_beside_the_audio_holds_the_interpreter(name: str) -> None:
    """Not pictures, not sound, not fits: why they need no process of their own."""
    assert any(longest_hold_s(WORK[name]) < MOST_S for _ in range(TRIES))


def test_what_holds_the_interpreter_is_found() -> None:
    """A call that keeps it is seen as one: a pattern that backtracks."""
    text = "a" * 22
    assert longest_hold_s(lambda: re.match("(a|a)*b", text)) > MOST_S
