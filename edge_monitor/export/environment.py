"""The Python environment in which msclap runs: this one if it fits, else one of its own, made from the lock file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOCK = Path(__file__).with_name("requirements.lock")
SIZE_BYTES = 2_000_000_000  # of the environment with torch for CPUs; 1.6 GB when this was written
_NEEDED = ("torch", "msclap", "transformers", "torchlibrosa", "huggingface_hub", "onnx", "onnxruntime")
_LAST_TRANSFORMERS = 4  # major version whose GPT-2 msclap's classes were written for
_TRIAL = "import torch, torchlibrosa, onnx, onnxruntime, huggingface_hub; from transformers import AutoModel, GPT2Model"
_NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}  # of ONNX Runtime; see encode/session.py
# This package comes last on the path: beside it, where it is installed, lie other versions of what the lock file names.
_EXPORT = "import sys; sys.path.append(sys.argv.pop(1)); from edge_monitor.export.__main__ import main; main()"
_DONE = "edge-monitor-lock.txt"  # a copy of the lock file, written when the environment is whole


def this_one_fits() -> bool:
    """Say whether msclap's classes and the export can run in the current environment."""
    if any(find_spec(name) is None for name in _NEEDED):
        return False
    try:
        return int(version("transformers").partition(".")[0]) <= _LAST_TRANSFORMERS
    except PackageNotFoundError:
        return False


def is_made(folder: Path) -> bool:
    """Say whether `folder` holds a whole environment of the present lock file."""
    try:
        return (folder / _DONE).read_text("utf-8") == LOCK.read_text("utf-8")
    except OSError:
        return False


def make(folder: Path, say: Callable[[str], None]) -> None:
    """Make the environment in `folder`, unless it is there and whole.

    Raises BundleError with pip's reason, and leaves nothing: a disk that is full has no room for half of it.
    """
    if is_made(folder):
        return
    remove(folder)
    say(f"making an environment with torch in {folder}")
    try:
        _install(folder)
    except BaseException:  # also Ctrl-C: half of it is a gigabyte that nobody uses
        remove(folder)
        raise


def _install(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)], "cannot make an environment")
    pip = [str(python_of(folder)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--retries", "1"]
    # Where pip knows an index of wheels without CUDA (PIP_EXTRA_INDEX_URL), this takes torch from there.
    _run([*pip, "--no-deps", "--requirement", str(LOCK)], "cannot install the export's packages")
    # What else this very torch needs: nothing, or CUDA's libraries.
    torch = next(line for line in LOCK.read_text("utf-8").splitlines() if line.startswith("torch=="))
    _run([*pip, torch], f"cannot install what {torch} needs")
    _run([str(python_of(folder)), "-c", _TRIAL], "the environment does not work")
    shutil.copyfile(LOCK, folder / _DONE)


def remove(folder: Path) -> None:
    """Delete an environment, whole or not."""
    shutil.rmtree(folder, ignore_errors=True)


def python_of(folder: Path) -> Path:
    """Return the environment's interpreter."""
    return folder / "bin/python"


def run_export(folder: Path, arguments: Sequence[str]) -> int:
    """Run `python -m edge_monitor.export` with `arguments` in the environment; return its exit code.

    It prints its own progress, and one line on standard error when it fails.
    """
    package = Path(__file__).resolve().parents[2]
    command = [str(python_of(folder)), "-P", "-c", _EXPORT, str(package), *arguments]
    return subprocess.run(command, env={**os.environ, **_NO_TELEMETRY}, check=False).returncode


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, env={**os.environ, **_NO_TELEMETRY}, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it gave no reason"]
        reason = errors[-1].strip().removeprefix("ERROR: ")[:200]
        raise BundleError(f"{what}: {reason}", hint="docs/msclap.md says what it needs, and how without a network")
