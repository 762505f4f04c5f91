"""The product as a user has it: a configuration, the command, the daemon as a process."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_monitor.api.daemon_client import PATIENCE_S, daemon_at, gone
from edge_monitor.config.file import load_settings
from edge_monitor.errors import ControlError
from edge_monitor.node.operation import Nothing
from edge_monitor.node.operations import STATUS
from edge_monitor.store.state_dir import StateDir
from tests.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_CONFIG = """
[node]
site = "plant"
name = "edge"
state_dir = "state"
[model]
bundle = "{bundle}"
{model}
{mqtt}
{tables}
[[machine]]
name = "{machine}"
display_name = "Cooling pump"
kind = "pump"
source = {source}
{extra}
"""


@dataclass
class Product:
    """One node with one machine, called pump unless it is renamed."""

    folder: Path
    source: str  # the inline table of the machine's source
    mqtt_port: int | None = None
    extra: str = ""  # more lines of the machine's table
    score_interval_s: float = 0.0
    mqtt: str = ""  # more lines of the [mqtt] table
    tables: str = ""  # more tables of the file
    bundle: str = "spectral"
    model: str = ""  # more lines of the [model] table
    machine: str = "pump"
    audibility: bool = False  # whether `enroll` mixes faults into the sound: 10 s
    environment: Mapping[str, str] = field(default_factory=dict)
    run_options: tuple[str, ...] = ()  # of `edge-monitor run`
    prefix: tuple[str, ...] = ()  # before the daemon's command line, e.g. prlimit or faketime

    @property
    def config(self) -> Path:
        """Return the configuration, written anew."""
        broker = f'[mqtt]\nhost = "127.0.0.1"\nport = {self.mqtt_port}\nscore_interval_s = {self.score_interval_s}\n'
        mqtt = broker + self.mqtt if self.mqtt_port else ""
        path, new = self.folder / "edge-monitor.toml", self.folder / "edge-monitor.toml.new"
        new.write_text(
            _CONFIG.format(
                bundle=self.bundle,
                model=self.model,
                mqtt=mqtt,
                tables=self.tables,
                machine=self.machine,
                source=self.source,
                extra=self.extra,
            )
        )
        new.replace(path)  # a daemon that starts may be reading it
        return path

    @property
    def state(self) -> Path:
        """Return the state directory."""
        return self.folder / "state"

    def command(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `edge-monitor VERB --config … ARGUMENTS` and return how it ended."""
        return subprocess.run(
            self.argv(verb, *arguments),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def answer(self, verb: str, *arguments: str) -> Any:  # noqa: ANN401 - whatever the command prints
        """Run a command with --json that must succeed, and return what it printed."""
        done = self.command(verb, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def argv(self, verb: str, *arguments: str) -> list[str]:
        """Return the command line."""
        skipped = ["--no-audibility"] if verb == "enroll" and not self.audibility else []
        return [sys.executable, "-m", "edge_monitor", *verb.split(), "--config", str(self.config), *skipped, *arguments]

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """Run the daemon beside the body; kill it at the end if it still runs."""
        log = self.folder / "daemon.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.prefix, *self.argv("run", *self.run_options)],
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
            )
        daemon = Daemon(process, log)
        try:
            wait_until(lambda: self.listening() or process.poll() is not None, 30.0, "the control socket")
            yield daemon
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)

    def listening(self) -> bool:
        """Return whether a daemon answers."""
        try:
            return bool(self.status())
        except ControlError:
            return False

    def status(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return what the daemon says of itself, asked without a process of one's own: for waiting.

        Raises ControlError when none answers in time.
        """
        socket = StateDir.of(load_settings(self.config).node).control_socket
        with daemon_at(socket, patience_s=patience_s) as daemon:
            if daemon is None:
                raise gone()
            return daemon.call(STATUS, Nothing()).model_dump(mode="json")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the state database."""
        with closing(sqlite3.connect(f"file:{self.state / 'edge-monitor.db'}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def intact(self) -> bool:
        """Return whether SQLite finds the database whole."""
        return self.rows("PRAGMA integrity_check") == [("ok",)] and self.rows("PRAGMA foreign_key_check") == []


@dataclass
class Daemon:
    """A running daemon."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """SIGKILL, from outside."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, seconds: float = 5.0) -> int:
        """SIGTERM; return the exit code. Fails when it takes longer."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def events(self) -> list[dict[str, Any]]:
        """Return its log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
