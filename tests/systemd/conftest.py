"""A minimal Debian and what is installed into it: made once, with the network; everything after works without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts import minimal_root
from tests.broker import Broker
from tests.systemd.debian import asleep

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
SUITE = os.environ.get("SUITE", "bookworm")  # or trixie
PACKAGES = ["systemd-sysv", "python3-venv", "python3-dev", "g++", "libportaudio2"]  # docs/operations.md, and systemd
OLDER = "08c54f8"  # the last commit before the installer was proven on real systems; installed as version 0.0.1


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Return a folder for whole systems; nothing of it stays."""
    for tool in ("mmdebstrap", "systemd-nspawn", "nsenter", "mosquitto"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.fail(f"needs {tool}: apt-get install mmdebstrap systemd-container mosquitto", pytrace=False)
    if os.geteuid() != 0:
        pytest.fail("needs root, to boot containers", pytrace=False)
    made = tempfile.mkdtemp(prefix="systems-")
    yield Path(made)
    subprocess.run(["rm", "-rf", "--one-file-system", made], check=False, timeout=200)


@pytest.fixture(scope="session")
def base(folder: Path) -> Path:
    """Return a Debian with both releases beside their wheels: /older, /wheels-older, /release, /wheels."""
    root = folder / SUITE
    minimal_root.make(SUITE, root, PACKAGES)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    copy_release(REPOSITORY, root / "release")
    build_wheel(REPOSITORY, root / "wheels")
    needed = (
        "python3 -m venv /var/tmp/venv && HNSWLIB_NO_NATIVE=1 /var/tmp/venv/bin/pip -q wheel --no-cache-dir"
        " --wheel-dir /wheels /wheels/edge_monitor-*.whl && rm -r /var/tmp/venv"
    )
    # With this environment's settings for pip, as it needs the network.
    subprocess.run([*asleep(root).enter, "sh", "-c", needed], check=True, capture_output=True, timeout=400)
    older = folder / "older"
    extract(OLDER, older)
    shutil.copytree(root / "wheels", root / "wheels-older", ignore=shutil.ignore_patterns("edge_monitor-*"))
    build_wheel(older, root / "wheels-older")
    copy_release(older, root / "older")
    return root


@pytest.fixture(scope="session")
def image(folder: Path, base: Path) -> Path:
    """Return another Debian of the same kind, which has never been booted."""
    root = folder / "image"
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True, timeout=100)
    return root


@pytest.fixture(scope="session")
def broker(folder: Path) -> Iterator[Broker]:
    """Return a broker on this computer, whose network the containers share."""
    with Broker(folder) as running:
        yield running


def copy_release(tree: Path, there: Path) -> None:
    """Copy what the installer needs beside wheels."""
    shutil.copytree(tree / "deploy", there / "deploy")
    shutil.copy(tree / "README.md", there)


def build_wheel(tree: Path, there: Path) -> None:
    """Build a tree's own wheel; it runs with every Python."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(there)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=100)


def extract(commit: str, there: Path) -> None:
    """Write a commit's files into a new folder, as version 0.0.1."""
    there.mkdir()
    with subprocess.Popen(["git", "-C", str(REPOSITORY), "archive", commit], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(there)], stdin=archive.stdout, check=False, timeout=100)
    if archive.returncode != 0:
        pytest.fail(f"the history does not have {commit}, which is upgraded over: git fetch --unshallow", pytrace=False)
    for name in ("pyproject.toml", "edge_monitor/__init__.py"):
        path = there / name
        path.write_text(path.read_text().replace('"0.1.0"', '"0.0.1"'))
