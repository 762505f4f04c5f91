"""Runs the daemon until a signal ends it, and begins anew with a changed configuration when SIGHUP asks for it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import structlog

from edge_monitor.config_file import load_settings
from edge_monitor.errors import ConfigError, EdgeMonitorError
from edge_monitor.memory.generations import list_generations
from edge_monitor.service.daemon import Daemon
from edge_monitor.service.learning import require_bundle
from edge_monitor.service.preflight import require_named
from edge_monitor.service.systemd import Notifier

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from edge_monitor.config import Settings

log = structlog.get_logger()


class Runner:
    """One daemon after the other in this process, each with the settings of its day.

    A reload is an orderly end and a new start, so that every setting can change: alarms, inhibitions and all that
    waits for the broker come back from the database. Settings that cannot be used leave the running daemon alone.
    """

    def __init__(self, config_path: Path) -> None:
        self._path = config_path
        self._notifier = Notifier()
        self._settings = load_settings(config_path)
        self._next: Settings | None = None  # what to go on with once the running daemon has ended
        self._asked = False  # for a reload
        self._daemon = self._daemon_with(self._settings)

    def run(self) -> int:
        """Run; return the exit code. Raises EdgeMonitorError for what makes a start impossible."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hangup)
        code = self._daemon.run()
        while self._next is not None:
            before, self._settings, self._next = self._settings, self._next, None
            code = self._run_with(self._settings, else_with=before)
        self._notifier.stopping()
        return code

    def _run_with(self, settings: Settings, *, else_with: Settings) -> int:
        """Run with new settings; when they make a start impossible after all, with those from before."""
        try:
            self._daemon = self._daemon_with(settings)
            return self._daemon.run()
        except EdgeMonitorError as error:
            log.error("config.not_applied", reason=str(error), running_with="the configuration from before")
            self._settings = else_with
            self._daemon = self._daemon_with(else_with)
            return self._daemon.run()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._next = None
        self._notifier.stopping()
        self._daemon.stop()

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    def _daemon_with(self, settings: Settings) -> Daemon:
        return Daemon(settings, self._notifier, each_turn=self._reload_if_asked)

    def _reload_if_asked(self) -> None:
        """Look at the configuration; called by the daemon's main thread, between two things."""
        if not self._asked:
            return
        self._asked = False
        self._notifier.reloading()
        try:
            settings = load_settings(self._path)
            _check(self._settings, settings)
        except EdgeMonitorError as error:
            log.error("config.rejected", reason=str(error), running_with="the configuration from before")
            self._notifier.ready()
            return
        if settings == self._settings:
            log.info("config.unchanged")
            self._notifier.ready()
            return
        log.info("config.reloading")
        self._next = settings
        self._daemon.stop()


def _check(before: Settings, after: Settings) -> None:
    """Raise EdgeMonitorError for settings that the daemon could not go on with."""
    for key in ("state_dir", "runtime_dir"):
        if getattr(before.node, key) != getattr(after.node, key):
            raise ConfigError("cannot change while the daemon runs", where=f"node.{key}", hint="restart it")
    node = require_named(after)
    with node.store, node.reading() as connection:
        for machine in after.machine:
            for generation in list_generations(connection, machine.name):
                if generation.active:
                    require_bundle(node, machine.name, generation.bundle_hash)
