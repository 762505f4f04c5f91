"""`scripts/setup.sh` tells in one line what it cannot do itself."""

from __future__ import annotations

import os
import shutil
import subprocess
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


def set_up(
    checkout: Path, purpose: str, python: str | None, *, alone: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the set-up; `alone` with no other programs than those in `bin`."""
    path = str(checkout / "bin") if alone else f"{checkout / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path} | ({} if python is None else {"PYTHON": python})
    command = ["/bin/sh", str(checkout / "scripts/setup.sh"), purpose]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def on_a_bare_box(checkout: Path, *more: str) -> None:
    """Have `bin` hold what every Debian has, and these."""
    for name in ("cat", "cksum", "dirname", "env", "grep", "mktemp", "rm", *more):
        found = shutil.which(name)
        assert found is not None
        (checkout / "bin" / name).symlink_to(found)


def test_a_python_that_is_not_there_is_one_line(checkout: Path) -> None:
    """A named interpreter that is missing is told; another one can be named."""
    answer = set_up(checkout, "demo", "python9")
    assert answer.returncode == 1
    assert answer.stderr == "setup: no python9 here; PYTHON=… names another one\n"


def test_an_old_python_is_one_line(checkout: Path) -> None:
    """Python 3.9 is refused before anything is made."""
    old = stub(checkout, "python3.9", '[ "$1" = --version ] && echo Python 3.9.2')
    answer = set_up(checkout, "test", str(old))
    assert answer.returncode == 1
    assert answer.stderr == (
        "setup: Python 3.9.2 is too old: Python 3.11 or newer is needed. Name one: PYTHON=python3.12 scripts/test.sh\n"
    )
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("sudo", "says"),
    [
        (True, "    sudo apt-get update && sudo apt-get install -y --no-install-recommends g++ libportaudio2 "),
        (False, "    apt-get update && apt-get install -y --no-install-recommends g++ libportaudio2 "),
    ],
)
def test_without_the_right_to_install_it_prints_the_line_to_type(checkout: Path, sudo: bool, says: str) -> None:
    """A user is told exactly what to type, as root where there is no sudo, and nothing is half done."""
    on_a_bare_box(checkout)
    stub(checkout, "apt-get", "exit 1")
    stub(checkout, "dpkg-query", "exit 1")
    stub(checkout, "id", "echo 1000")
    if sudo:
        stub(checkout, "sudo", "exit 1")
    answer = set_up(checkout, "test", None, alone=True)
    assert answer.returncode == 1
    line = answer.stderr.splitlines()[1]
    assert line.startswith(says)
    assert line.endswith(" python3 python3-dev python3-venv")
    assert ("as root" in answer.stderr) is not sudo
    assert not (checkout / ".venv").exists()


def test_without_apt_it_lists_what_is_needed(checkout: Path) -> None:
    """On another distribution the packages have to come from elsewhere: one line names what is missing, and all."""
    on_a_bare_box(checkout)
    answer = set_up(checkout, "demo", None, alone=True)
    assert answer.returncode == 1
    assert answer.stderr == (
        "setup: no python3 here, and no apt-get to install it. Needed is what Debian calls g++ libportaudio2 python3"
        " python3-dev python3-venv; then scripts/demo.sh again\n"
    )


def test_without_a_network_it_says_what_it_needs(checkout: Path) -> None:
    """When apt reaches nothing, one line names the packages, and where all that it said is kept."""
    on_a_bare_box(checkout, "head")
    stub(checkout, "id", "echo 0")
    stub(checkout, "dpkg", "exit 0")
    stub(checkout, "dpkg-query", "exit 1")
    stub(checkout, "apt-get", "echo 'E: Could not resolve the name' >&2; exit 100")
    answer = set_up(checkout, "demo", None, alone=True)
    assert answer.returncode == 1
    first, last = answer.stderr.splitlines()
    assert first == "E: Could not resolve the name"
    assert last.startswith("setup: apt-get failed (all it said: ")
    assert last.endswith("Is the network there? Needed are: g++ libportaudio2 python3 python3-dev python3-venv")
