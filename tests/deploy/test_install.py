"""What the installer refuses, and what it would do; tests/systemd has it do that on real systems."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# The Python that runs the tests, which may lie in a home folder, as if it were the system's.
REAL = 'case $* in *base_prefix*) echo /usr; exit ;; esac\nexec "$REAL" "$@"'


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Return a folder that has a wheel of the product by its name."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "edge_monitor-0.1.0-py3-none-any.whl").touch()
    return folder


def dry_run(*arguments: str, python: str = sys.executable, path: str = "") -> subprocess.CompletedProcess[str]:
    """Ask what the installer would do here; `path` comes first in PATH."""
    return subprocess.run(
        [REPOSITORY / "deploy/install.sh", "--dry-run", *arguments],
        env={**os.environ, "PYTHON": python, "REAL": sys.executable, "PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def program(folder: Path, name: str, body: str) -> Path:
    """Write a shell script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line with which the installer refused, before anything it would have done."""
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--wheels", "/no/such"], "/no/such: no such folder"),
        (
            ["--wheels", "/proc/self/fdinfo"],
            "/proc/self/fdinfo: no wheel of edge-monitor in there; make it with pip wheel",
        ),
        (["--root", "/no/such"], "/no/such: no such folder"),
        (["--root", ""], "--root needs a value"),
        (["--extras"], "--extras needs a value"),
        (["--purge"], "--purge goes with --uninstall"),
    ],
)
def test_a_wrong_call_is_one_clear_line(arguments: list[str], says: str) -> None:
    """It names what is wrong; nothing is done."""
    assert refused(dry_run(*arguments)) == f"install: {says}"


def test_an_unknown_option_is_named_below_those_there_are() -> None:
    """The last line names it."""
    done = dry_run("--frobnicate")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("usage: ")
    assert done.stderr.splitlines()[-1] == "install: unknown option --frobnicate"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "case $* in *version_info*) exit 1 ;; --version) echo Python 3.9.2 ;; esac",
            "Python 3.9.2 in this system is too old; Python 3.11 or newer is needed",
        ),
        (
            f"case $* in *ensurepip*) exit 1 ;; esac\n{REAL}",
            "{python} in this system has no venv; install python3-venv there",
        ),
        (
            f"case $* in *base_prefix*) echo /home/bob; exit ;; esac\n{REAL}",
            "the service cannot see /home/bob; name a Python outside of home and temporary folders with PYTHON=",
        ),
        (
            f"case $* in *Python.h*) exit 1 ;; esac\n{REAL}",
            "{python} in this system has no headers; install python3-dev there, or give --wheels",
        ),
    ],
    ids=["too old", "no venv", "in a home folder", "no headers"],
)
def test_a_python_that_will_not_do_is_refused(tmp_path: Path, body: str, says: str) -> None:
    """With what to do about it."""
    python = program(tmp_path / "bin", "python", body)
    compiler = program(tmp_path / "bin", "c++", "")
    assert refused(dry_run(python=str(python), path=str(compiler.parent))) == f"install: {says.format(python=python)}"


def test_a_missing_python_is_refused() -> None:
    """With what to do about it."""
    assert refused(dry_run(python="python9")) == (
        "install: no python9 in this system; install Python 3.11 or newer there, or name one with PYTHON="
    )


def test_without_a_compiler_wheels_are_asked_for(tmp_path: Path) -> None:
    """One dependency comes as source."""
    python = program(tmp_path / "python", "python3", REAL)
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for tool in Path(place).iterdir() if Path(place).is_dir() else ():
            if tool.name != "c++" and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    done = subprocess.run(
        [REPOSITORY / "deploy/install.sh", "--dry-run"],
        env={**os.environ, "PYTHON": str(python), "REAL": sys.executable, "PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert refused(done) == "install: no C++ compiler in this system; install g++ there, or give --wheels"


@pytest.mark.parametrize("arguments", [(), ("--uninstall",)])
def test_an_image_is_looked_at_by_root_alone(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Even a dry run has to enter it."""
    somebody = program(tmp_path / "bin", "id", "echo 1000")
    done = dry_run("--root", str(tmp_path), *arguments, path=str(somebody.parent))
    assert refused(done) == "install: run it as root: sudo deploy/install.sh"


def test_a_folder_without_a_system_is_no_image(tmp_path: Path) -> None:
    """It is left as it was."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as an image does")
    assert refused(dry_run("--root", str(tmp_path))) == f"install: {tmp_path}: no system in there"
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_every_step_in_order(wheels: Path, tmp_path: Path) -> None:
    """The program, its settings, the unit last; anybody may ask."""
    python = program(tmp_path / "bin", "python", REAL)
    done = dry_run("--wheels", str(wheels), python=str(python))
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("would: ")]
    order = [
        f"would: {python} -m venv --clear /opt/edge-monitor",
        f"--no-index --find-links {wheels} edge-monitor",
        "would: ln -sfn /opt/edge-monitor/bin/edge-monitor /usr/local/bin/edge-monitor",
        "/usr/lib/sysusers.d/edge-monitor.conf",
        "would: chmod 640 /etc/edge-monitor/edge-monitor.toml",
        "/etc/systemd/system/edge-monitor.service",
    ]
    places = [next(i for i, line in enumerate(told) if step in line) for step in order]
    assert places == sorted(places)
