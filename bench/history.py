"""Results kept: on what machine, without names, and the last one of the same kind of machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.rows import Row, as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "bench/results"
QUIET = 0.3  # processes that run or wait, per core, before the suite starts: above it, the figures say so
_CPU_KEYS = ("cpu family", "model", "CPU implementer", "CPU part")  # numbers of x86 and of ARM, no product names
_VECTORS = ("avx512f", "avx2", "asimd", "neon")  # the widest comes first


@dataclass(frozen=True, slots=True)
class Result:
    """One run of the suite."""

    machine: dict[str, str]  # results of equal machines are comparable
    date: str  # RFC 3339, UTC
    commit: str
    load_per_core: float  # processes that ran or waited per core, mean of the minute before
    seconds: float  # that the suite took
    rows: tuple[Row, ...]

    @property
    def busy(self) -> bool:
        """Say whether other work disturbed the figures."""
        return self.load_per_core > QUIET

    def describe(self) -> str:
        """Return one line: machine, date, commit and how busy it was."""
        busy = f"; the box was busy (load {self.load_per_core:.1f} per core before the start)" if self.busy else ""
        return f"{', '.join(self.machine.values())}; {self.date[:10]}, {self.commit}; {self.seconds:.0f} s{busy}"

    def keep(self, folder: Path) -> Path:
        """Write it as JSON into `folder` and return the path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.date[:16].replace(':', '')}-{self.commit}.json"
        fields = {name: getattr(self, name) for name in ("machine", "date", "commit", "load_per_core", "seconds")}
        path.write_text(json.dumps({**fields, "rows": as_json(self.rows)}, indent=1) + "\n", "utf-8")
        return path


def last_of(machine: dict[str, str], folder: Path) -> Result | None:
    """Return the newest result of such a machine in `folder`, or None."""
    found = (_read(path) for path in sorted(folder.glob("*.json"), reverse=True))
    return next((result for result in found if result.machine == machine), None)


def this_machine() -> dict[str, str]:
    """Return what decides how fast this machine is, without its name or anybody's."""
    memory_gb = round(psutil.virtual_memory().total / 2**30)
    return {
        "cpu": f"{platform.machine()} {_cpu()}",
        "cores": f"{os.cpu_count()} cores",
        "memory": f"{memory_gb} GB",
        "system": f"{platform.freedesktop_os_release().get('PRETTY_NAME', platform.system())}",
        "python": f"Python {'.'.join(platform.python_version_tuple()[:2])}",
    }


def now() -> str:
    """Return the time, RFC 3339, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def load_per_core() -> float:
    """Return how many processes ran or waited in the last minute, per core."""
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)


def commit() -> str:
    """Return the commit this tree is at, `+` where it has been changed since; `unknown` outside git."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=9", "HEAD"], capture_output=True, check=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout else "")


def _cpu() -> str:
    """Return the processor's family and its widest vector instructions, e.g. `cpu family 6, model 143, avx512f`."""
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8").partition("\n\n")[0]
    except OSError:
        return "unknown"
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    known = [f"{key} {fields[key]}" for key in _CPU_KEYS if key in fields]
    return ", ".join(known + [name for name in _VECTORS if name in flags][:1])


def _read(path: Path) -> Result:
    fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
    rows: Sequence[dict[str, Any]] = fields.pop("rows")
    return Result(**fields, rows=tuple(map(Row.from_json, rows)))
