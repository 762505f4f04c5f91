"""The doctor on the computer: its clock, memory, compiled libraries, and the service manager's unit.

A library is tried in a process of its own, which a wrongly built one may kill.
"""

from __future__ import annotations

import platform
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.doctor.finding import Finding, fail, ok, skip, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNIT = "edge-monitor.service"
_PROPERTIES = "LoadState,UnitFileState,ActiveState,SubState,NRestarts,Result"
_FIRST_YEAR, _LAST_YEAR = 2025, 2100  # a board without a clock begins in 1970 or on its image's birthday
_SYNC_HINT = "`timedatectl set-ntp true`, or point systemd-timesyncd or chrony at a time server of the plant"
_LOW_MB, _LEAST_MB = 300, 100  # the spectral bundle's daemon takes about 150 MB
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


def look_at_clock() -> Iterator[Finding]:
    """Yield whether the wall clock can be believed."""
    yield judge_clock(clock.now().wall_ms, synchronized=clock.synchronized())


def judge_clock(wall_ms: int, *, synchronized: bool | None) -> Finding:
    """Return what a wall time, milliseconds since 1970-01-01 UTC, is worth; `synchronized` as the kernel says."""
    moment = clock.rfc3339(wall_ms)
    year = datetime.fromtimestamp(wall_ms / 1000, UTC).year
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return fail(f"says {moment}, which cannot be", _SYNC_HINT)
    if synchronized is None:
        return skip(f"{moment}; whether it is synchronized cannot be asked here")
    if not synchronized:
        text = f"{moment}, not synchronized: alarms may carry wrong times, none is lost by it"
        return warn(text, _SYNC_HINT)
    return ok(f"{moment}, synchronized")


def look_at_memory() -> Iterator[Finding]:
    """Yield whether there is memory left."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        free_mb = int(fields["MemAvailable"].split()[0]) // 1024
    except (OSError, ValueError, KeyError):
        yield skip("the system does not say how much is free")
        return
    yield judge_memory(free_mb)


def judge_memory(free_mb: int) -> Finding:
    """Return whether so much free memory, MB, is enough."""
    if free_mb >= _LOW_MB:
        return ok(f"{free_mb} MB available")
    judge = fail if free_mb < _LEAST_MB else warn
    return judge(f"only {free_mb} MB available", "end other programs, or use a box with more")


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


def look_at_unit() -> Iterator[Finding]:
    """Yield how the unit stands; skipped where systemd does not run."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not Path("/run/systemd/system").is_dir():
        yield skip("systemd does not run here")
        return
    done = subprocess.run(
        [systemctl, "show", UNIT, f"--property={_PROPERTIES}"], capture_output=True, text=True, timeout=10, check=False
    )
    yield judge_unit(dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line))


def judge_unit(properties: Mapping[str, str]) -> Finding:
    """Return what `systemctl show` says of the unit."""
    if properties.get("LoadState") != "loaded":
        return warn(f"{UNIT} is not installed: nothing starts it with the box", "deploy/install.sh")
    active = properties.get("ActiveState", "unknown")
    if active == "failed":
        text = f"{UNIT} has failed ({properties.get('Result', 'unknown')})"
        return fail(text, "`journalctl -u edge-monitor -e` says why")
    if active not in {"active", "reloading"}:
        return warn(f"{UNIT} is {active}", "`systemctl start edge-monitor`")
    if not properties.get("UnitFileState", "").startswith("enabled"):
        return warn(f"{UNIT} runs, but does not start with the box", "`systemctl enable edge-monitor`")
    restarts = properties.get("NRestarts", "0")
    if restarts != "0":
        return warn(f"{UNIT} runs, after {restarts} restarts", "`journalctl -u edge-monitor -p warning` says why")
    return ok(f"{UNIT} runs and starts with the box")
