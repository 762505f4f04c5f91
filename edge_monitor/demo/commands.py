"""The real commands: as children, which end when the demo does, and as a user types them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edge_monitor.console import Progress
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.console import Console

PATIENCE_S = 120.0  # also for a daemon that has much to write at its end
_FEW_ARGUMENTS = 2  # a line must stay readable
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CONFIG = Path("edge-monitor.toml")
MINUTES = 10  # of enrolling: a beginning


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
            socket = self._config.parent / "state" / "run" / "control.sock"
            while daemon.poll() != 0 and not socket.exists():
                if daemon.poll() or time.monotonic() > deadline_s:
                    raise EdgeMonitorError("the daemon did not start", where=str(log), hint="read the log")
                time.sleep(0.05)  # the socket shows that it takes questions
            yield daemon

    def _argv(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "edge_monitor", *verb.split(), "--config", str(self._config)]

    def _say_command(self, verb: str, *arguments: str) -> None:
        self._console.say(" ".join(("$ edge-monitor", verb, "--config", str(self._config), *arguments)), bold=True)


@contextmanager
def child(argv: Sequence[str], output: IO[bytes] | int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the body, both its streams to `output`; terminate it after the body if it still runs.

    It is in a process group of its own: Ctrl-C reaches the demo alone, which ends its children in order.
    """
    process: subprocess.Popen[bytes] | None = None
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    try:
        with _signals_later():
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=environment, process_group=0)
        yield process
    finally:
        if process is not None:
            process.terminate()
            process.wait(PATIENCE_S)
            if process.stdout:
                process.stdout.close()


@contextmanager
def _signals_later() -> Iterator[None]:
    """Let what would end this process come after the body: a child that nobody knows yet would live on."""
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    handled = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handled:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def first_machine() -> tuple[str, str, str]:
    """Return them: which microphones there are, a configuration to write one into, enrolling.

    They are right in whatever folder they are typed: `make -C` and scripts run the demo in another one.
    """
    command = _command()
    config = _CONFIG if os.access(".", os.W_OK) else Path.home() / _CONFIG
    write = f"config check --config {typed(config)}" if config.exists() else f"config init --path {typed(config)}"
    return f"{command} devices", f"{command} {write}", f"{command} enroll --config {typed(config)} --live {MINUTES}"


def typed(path: Path) -> str:
    """Return a path as a shell takes it, with `~` for the home folder."""
    home = Path.home()
    if path.is_relative_to(home) and path != home:
        return f"~/{shlex.quote(str(path.relative_to(home)))}"
    return shlex.quote(str(path))


def _command() -> str:
    """Return `edge-monitor` where the shell finds this very one, else its whole path."""
    started = Path(sys.argv[0])
    own = started.absolute() if started.name == "edge-monitor" else Path(sys.executable).with_name("edge-monitor")
    if not own.exists():
        return f"{typed(Path(sys.executable))} -m edge_monitor"
    found = shutil.which("edge-monitor")
    return "edge-monitor" if found and own.samefile(found) else typed(own)
