"""One part of the suite, measured in a process of its own: `python -m bench.part MODULE SECONDS FILE`.

A process of its own starts with nothing loaded, can be ended when it overruns, and may be another environment's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bench.rows import NotMeasuredError, Row, as_json

ROOT = Path(__file__).parent.parent
NO_EXPORT = "needs the export environment (`make test-export` makes it)"


@dataclass(frozen=True, slots=True)
class Part:
    """A module with `measure(seconds) -> list[Row]`."""

    title: str  # of the row that stands for it when it cannot be measured
    module: str
    seconds: float  # to measure for
    set_up_s: float  # what it takes besides, on a quiet box
    needs_export: bool = False  # torch, msclap, librosa: in the export environment

    @property
    def whole_s(self) -> float:
        """Return what it takes on a quiet box, seconds."""
        return self.seconds + self.set_up_s


def run(part: Part, seconds: float, limit_s: float, export_python: Path) -> tuple[list[Row], bool]:
    """Return a part's rows, and whether it broke; it is ended after `limit_s` with all it had started."""
    if part.needs_export and not export_python.exists():
        return [Row(part.title, missing=NO_EXPORT)], False
    python = str(export_python) if part.needs_export else sys.executable
    with tempfile.TemporaryDirectory(prefix="em-bench-") as scratch:
        out = Path(scratch) / "rows.json"
        complaints = Path(scratch) / "complaints.txt"
        with complaints.open("w", encoding="utf-8") as stderr:
            process = subprocess.Popen(
                [python, "-m", "bench.part", part.module, str(seconds), str(out)],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TMPDIR": scratch},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return [Row(part.title, missing=f"took more than {limit_s:.0f} s")], False
        finally:  # also at Ctrl-C: what it had started goes with it
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode or not out.exists():
            last_line = (complaints.read_text("utf-8", "replace").strip().splitlines() or ["no word"])[-1]
            return [Row(part.title, missing=f"failed: {last_line[:120].replace('|', '/')}")], True
        fields = json.loads(out.read_text("utf-8"))
    return [Row.from_json(row) for row in fields["rows"]] or [Row(part.title, missing=fields["missing"])], False


def need(*commands: str) -> None:
    """Raise NotMeasuredError unless these commands are here; brokers are outside a user's PATH on Debian."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
    if lacking := [name for name in commands if shutil.which(name, path=path) is None]:
        raise NotMeasuredError(f"needs {', '.join(lacking)}")


def main() -> None:
    """Measure, and write the rows as JSON."""
    module, seconds, out = sys.argv[1:]
    rows: list[Row] = []
    missing = ""
    try:
        rows = import_module(module).measure(float(seconds))
    except NotMeasuredError as error:
        missing = str(error)
    Path(out).write_text(json.dumps({"rows": as_json(rows), "missing": missing}), "utf-8")


if __name__ == "__main__":
    main()
