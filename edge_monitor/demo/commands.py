"""The real commands and daemon as children; what they tell goes to one console."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_monitor.console import Progress
from edge_monitor.demo.child import child
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.console import Console

PATIENCE_S = 120.0
_FEW_ARGUMENTS = 2  # a line must stay readable


class Commands:
    """Runs `edge-monitor` with one configuration; all that is told of it goes to the console."""

    def __init__(self, config: Path, console: Console) -> None:
        self._config = config
        self._console = console

    def run(self, verb: str, *arguments: str) -> None:
        """Run a command to its end and tell its lines and its progress; raise EdgeMonitorError when it fails."""
        shown = arguments if len(arguments) <= _FEW_ARGUMENTS else (*arguments[:1], "...")
        self._say_command(verb, *shown)
        progress = ["--progress-json"] if verb == "enroll" else []
        argv = [*self._argv(verb), *progress, *arguments]
        with child(argv, subprocess.PIPE) as command, self._console.progress() as show:
            for line in command.stdout or ():
                text = line.decode(errors="replace").rstrip("\n")
                if told := Progress.from_json(text):
                    show(told)
                else:
                    self._console.say(text)
            command.wait()
        if command.returncode:
            raise EdgeMonitorError(f"`edge-monitor {verb}` failed", where=str(self._config), hint="see above")

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon beside the body; its log goes to a file."""
        self._say_command("run")
        log = self._config.with_name("daemon.log")
        with log.open("wb") as output, child(self._argv("run"), output) as daemon:
            deadline_s = time.monotonic() + PATIENCE_S
            while not (self._config.parent / "state" / "run" / "control.sock").exists():
                if daemon.poll() not in (None, 0) or time.monotonic() > deadline_s:
                    raise EdgeMonitorError("the daemon did not start", where=str(log), hint="read the log")
                if daemon.poll() == 0:
                    break
                time.sleep(0.05)  # the socket shows that it takes questions
            yield daemon

    def _argv(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "edge_monitor", *verb.split(), "--config", str(self._config)]

    def _say_command(self, verb: str, *arguments: str) -> None:
        self._console.say(" ".join(("$ edge-monitor", verb, "--config", str(self._config), *arguments)), bold=True)
