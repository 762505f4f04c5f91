"""The doctor on compiled libraries: tried in a process of their own, which a wrongly built one may kill."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.doctor.finding import Finding, fail, ok

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 60.0
_FEATURES = ("neon", "asimd", "avx", "avx2", "fma", "avx512f")
_TRIALS = {
    "hnswlib": """
import hnswlib, numpy
index = hnswlib.Index("l2", 32)
index.init_index(64)
index.add_items(numpy.arange(2048, dtype="f4").reshape(64, 32))
assert index.knn_query(numpy.zeros((1, 32), dtype="f4"), 4)[0][0][0] == 0
""",
    "onnxruntime": """
from edge_monitor.encode.session import onnx_runtime
assert onnx_runtime().get_available_providers()
""",
    "soxr and soundfile": """
import numpy, soundfile, soxr
assert soxr.resample(numpy.zeros(4800, dtype="f4"), 48000, 16000).shape == (1600,)
""",
}
_REBUILD = "rebuild it here: HNSWLIB_NO_NATIVE=1 pip install --force-reinstall --no-cache-dir --no-binary :all: hnswlib"


def look_at_libraries() -> Iterator[Finding]:
    """Yield a finding for each compiled library that the runtime needs."""
    for library, program in _TRIALS.items():
        yield judge_trial(library, *_run(program))


def judge_trial(library: str, code: int, said: str) -> Finding:
    """Return what the end of a trial means: its exit code (negative: the signal) and the last line of stderr."""
    if code == 0:
        return ok(f"{library}: sound on this processor ({processor()})")
    if code == -signal.SIGILL:
        hint = _REBUILD if library == "hnswlib" else f"install a build of {library} for {platform.machine()}"
        return fail(f"{library} was built for another processor (illegal instruction)", hint)
    return fail(
        f"{library} cannot be used: {said or f'exit code {code}'}", "install edge-monitor anew in its environment"
    )


def processor() -> str:
    """Return the architecture, and which vector instructions the processor has."""
    try:
        words = set(Path("/proc/cpuinfo").read_text("utf-8", errors="replace").split())
    except OSError:
        words = set()
    return " ".join([platform.machine(), *(feature for feature in _FEATURES if feature in words)])


def _run(program: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"it hung for {_TIMEOUT_S:.0f} s"
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]
