"""`scripts/setup.sh` tells in one line what it cannot do itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with what the set-up reads, and no .venv; `bin` in it comes first in PATH."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(REPOSITORY / "scripts/setup.sh", tmp_path / "scripts")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def stub(checkout: Path, name: str, body: str) -> Path:
    """Put a program of this behaviour first in PATH."""
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def set_up(checkout: Path, purpose: str, python: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up."""
    environment = os.environ | {"PYTHON": python, "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"}
    command = ["sh", str(checkout / "scripts/setup.sh"), purpose]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_missing_python_is_one_line(checkout: Path) -> None:
    """Without an interpreter the set-up says which to install or name."""
    answer = set_up(checkout, "demo", "python9")
    assert answer.returncode == 1
    assert answer.stderr == (
        "setup: no python9 here; install Python 3.11 or newer, or name one: make demo PYTHON=python3.12\n"
    )


def test_an_old_python_is_one_line(checkout: Path) -> None:
    """Python 3.9 is refused before anything is made."""
    old = stub(checkout, "python3.9", '[ "$1" = --version ] && echo Python 3.9.2')
    answer = set_up(checkout, "test", str(old))
    assert answer.returncode == 1
    assert answer.stderr == (
        "setup: Python 3.9.2 is too old; install Python 3.11 or newer, or name one: make test PYTHON=python3.12\n"
    )
    assert not (checkout / ".venv").exists()


def test_without_the_right_to_install_it_prints_the_line_to_type(checkout: Path) -> None:
    """A user without sudo is told exactly what to type, and nothing is half done."""
    stub(checkout, "dpkg-query", "exit 1")
    stub(checkout, "id", "echo 1000")
    stub(checkout, "sudo", "exit 1")
    answer = set_up(checkout, "test", sys.executable)
    assert answer.returncode == 1
    line = answer.stderr.splitlines()[1]
    assert line.startswith("    sudo apt-get install -y --no-install-recommends ")
    assert line.endswith("libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils mosquitto libfaketime")
    assert not (checkout / ".venv").exists()
