"""Folders of the wrong owner, or on a disk that is or turns read-only: the node works, or ends with one clear line."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.broker import wait_until
from tests.product import Product
from tests.reachable import program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT, OWNER = 0, 54_321
OWN_LINE = "edge-monitor: "

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user and mounting a disk need root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that everybody may reach."""
    path = Path(tempfile.mkdtemp(prefix="em-owner-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def state(folder: Path) -> Iterator[Path]:
    """Return an empty state directory on a disk of its own."""
    path = folder / "state"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=710", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def configure(folder: Path, runtime_dir: str = "") -> Path:
    """Write a configuration with the default runtime folder or another one."""
    config = Product(folder, '{ kind = "simulator", machine = "pump", pace = 60 }').config
    if runtime_dir:
        config.write_text(config.read_text().replace('"state"', f'"state"\nruntime_dir = "{runtime_dir}"'))
    return config


def argv(config: Path, user: int, *arguments: str) -> list[str]:
    """Return the command line that runs `edge-monitor` as a user."""
    return [*program("as_user.py"), str(user), str(user), "--", *arguments, "--config", str(config)]


def ask(config: Path, user: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user."""
    return subprocess.run(
        argv(config, user, *arguments), capture_output=True, text=True, check=False, timeout=60, cwd=config.parent
    )


@contextmanager
def daemon(config: Path, user: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon as a user beside the body, once it answers or has ended."""
    log = config.with_name("daemon.log")
    with log.open("wb") as output:
        running = subprocess.Popen(argv(config, user, "run"), stderr=output, cwd=config.parent)
    try:
        wait_until(
            lambda: running.poll() is not None or ask(config, ROOT, "status").returncode == 0, 30.0, log.read_text()
        )
        yield running
    finally:
        running.terminate()
        running.wait(10)


def said(text: str) -> list[str]:
    """Return what a command said to a person: what it wrote but its log."""
    return [line for line in text.splitlines() if not line.startswith("{")]


@pytest.mark.parametrize("runtime_dir", ["", "outside/run"])
def test_what_root_does_first_leaves_the_daemon_its_folders(folder: Path, runtime_dir: str) -> None:
    """Commands of root's before the daemon's first start make nothing that the daemon's user cannot use."""
    state = folder / "state"
    state.mkdir(mode=0o710)
    os.chown(state, OWNER, OWNER)
    config = configure(folder, runtime_dir)
    assert ask(config, ROOT, "run").returncode == 1  # refused
    for arguments in (("normals", "list"), ("enroll", "--live", "3")):
        done = ask(config, ROOT, *arguments)
        assert done.returncode == 0, done.stderr
    with daemon(config, OWNER) as running:
        assert running.poll() is None, config.with_name("daemon.log").read_text()
    made = [*state.rglob("*"), *(folder / "outside").rglob("*")]
    assert len(made) > 3
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(OWNER, OWNER)}


def test_a_link_in_place_of_the_runtime_folder_gives_nothing_away(folder: Path) -> None:
    """Root makes the runtime folder with the rights of the state directory's owner, who may have put a link there."""
    state, root_s = folder / "state", folder / "root-s"
    state.mkdir(mode=0o710)
    os.chown(state, OWNER, OWNER)
    (state / "run").symlink_to(root_s / "made")
    root_s.mkdir(mode=0o700)
    assert ask(configure(folder), ROOT, "normals", "list").returncode == 1
    assert list(root_s.iterdir()) == []


def test_a_runtime_folder_of_somebody_else_s_is_refused_with_one_line(folder: Path) -> None:
    """A daemon that cannot be reached by commands says where and what to do, and ends with code 1."""
    state = folder / "state"
    (state / "run").mkdir(parents=True)
    os.chown(state, OWNER, OWNER)
    done = ask(configure(folder), OWNER, "run")
    [line] = said(done.stderr)
    assert done.returncode == 1
    assert line.startswith(f"{OWN_LINE}{state}/run/control.sock: cannot make the control socket: Permission denied")


@pytest.mark.parametrize("left", ["nothing", "a folder", "a socket"])
def test_a_read_only_disk_with_the_runtime_folder_on_it_is_refused_with_one_line(state: Path, left: str) -> None:
    """Without a place for the control socket the start ends with code 1 and names the setting; reading works."""
    if left != "nothing":
        (state / "run").mkdir()
    if left == "a socket":
        (state / "run/control.sock").touch()  # as a killed daemon leaves it
    subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
    config = configure(state.parent)
    done = ask(config, ROOT, "run")
    [line] = said(done.stderr)
    assert done.returncode == 1
    assert line.startswith(f"{OWN_LINE}{state}/run/control.sock: cannot make the control socket: ")
    assert "node.runtime_dir names another folder" in line
    assert ask(config, ROOT, "normals", "list").returncode == 0


@pytest.mark.parametrize("runtime_dir", ["", "outside/run"])
@pytest.mark.parametrize("after_s", [0.6, 1.0])
def test_a_disk_that_turns_read_only_during_the_start(state: Path, runtime_dir: str, after_s: float) -> None:
    """The node runs and knows of the fault, or ends with code 1 and one line: never a traceback, never a hang."""
    config = configure(state.parent, runtime_dir)
    log = config.with_name("daemon.log")
    with log.open("wb") as output:
        running = subprocess.Popen(argv(config, ROOT, "run"), stderr=output, cwd=config.parent)
    time.sleep(after_s)
    subprocess.run(["mount", "-o", "remount,ro,force", str(state)], check=False, capture_output=True)
    try:
        wait_until(
            lambda: running.poll() is not None or ask(config, ROOT, "status").returncode == 0, 30.0, "either of them"
        )
    finally:
        running.terminate()
        code = running.wait(10)
    told = said(log.read_text())
    assert (code, len(told)) in ((0, 0), (1, 1)), log.read_text()
    assert all(line.startswith(OWN_LINE) for line in told)
