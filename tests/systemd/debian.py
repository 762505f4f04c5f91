"""A Debian system in a folder: commands in it, with its own systemd running or without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts import minimal_root
from tests.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_LONGEST_S = 200.0  # of one command
_BOOT_S = 60.0


@dataclass(frozen=True, slots=True)
class Debian:
    """A system; `enter` is the command line that leads into it."""

    root: Path
    enter: tuple[str, ...]

    def run(self, *command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command and return how it ended."""
        become = () if user == "root" else ("runuser", "-u", user, "--")
        clean = ("env", "-i", *(f"{key}={value}" for key, value in _ENVIRONMENT.items()))
        return subprocess.run(
            [*self.enter, *clean, *become, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_S,
        )

    def do(self, *command: str, user: str = "root") -> str:
        """Run a command that must succeed, and return what it printed."""
        done = self.run(*command, user=user)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def answer(self, *command: str) -> Any:  # noqa: ANN401 - whatever the command prints
        """Run an `edge-monitor` command with --json, and return what it printed."""
        return json.loads(self.do("edge-monitor", *command, "--json"))

    def machine(self) -> dict[str, Any]:
        """Return what the daemon says of its only machine; nothing while none answers."""
        done = self.run("edge-monitor", "status", "--json")
        if done.returncode != 0:
            return {"state": "", "alarm_id": None}
        [machine] = json.loads(done.stdout)["machines"]
        return dict(machine)

    def wait_for_state(self, state: str, seconds: float = 30.0) -> dict[str, Any]:
        """Return what the daemon says of its only machine as soon as that is in `state`."""
        wait_until(lambda: self.machine()["state"] == state, seconds, f"{state}; it is {self.machine()}")
        return self.machine()

    def pid(self) -> int:
        """Return the daemon's process number; 0 when systemd runs none."""
        return int(self.do("systemctl", "show", "--property=MainPID", "--value", "edge-monitor"))

    def journal(self) -> str:
        """Return what the service and systemd say of the service."""
        return self.do("journalctl", "--no-pager", "--output=cat", "--unit=edge-monitor")

    def files(self) -> set[str]:
        """Return the paths of all that lies on the system's disk."""
        return {
            str(Path(folder, name).relative_to(self.root))
            for folder, folders, names in os.walk(self.root)
            for name in (*folders, *names)
        }


def asleep(root: Path) -> Debian:
    """Return the system without a running systemd: each command has a container of its own."""
    return Debian(root, (*minimal_root.nspawn(root, "--pipe"), "--as-pid2"))


@contextmanager
def booted(root: Path) -> Iterator[Debian]:
    """Boot the system beside the body; power it off at the end. A unit that fails to start is a failure."""
    log = root.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            minimal_root.nspawn(root, "--boot", "--console=pipe"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or _first_process(process.pid), _BOOT_S, "systemd in the container"
        )
        assert process.poll() is None, f"systemd-nspawn ended with {process.returncode}: {log.read_text()}"
        system = Debian(root, ("nsenter", "--all", "--target", _first_process(process.pid)))
        wait_until(lambda: _booted(system), _BOOT_S, "the end of the boot")
        state = system.run("systemctl", "is-system-running", "--wait").stdout.strip()
        assert state == "running", f"{state}: {system.run('systemctl', '--failed', '--no-legend').stdout}"
        yield system
    finally:
        process.send_signal(signal.SIGTERM)  # systemd-nspawn has the system power off
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _first_process(nspawn: int) -> str:
    """Return the number, outside, of the container's process 1; '' until it is systemd."""
    for child in Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split():
        with suppress(OSError):  # it was one that helps nspawn, and is gone
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return child
    return ""


def _booted(system: Debian) -> bool:
    """Return whether systemd can be asked already."""
    asked = system.run("systemctl", "is-system-running").stdout.strip()
    return asked in {"starting", "running", "degraded"}
