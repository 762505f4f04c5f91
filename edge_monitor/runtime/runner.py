"""Runs the daemon until a signal ends it, and begins anew with a changed configuration when that is asked for."""

from __future__ import annotations

import gc
import queue
import signal
from concurrent.futures import Future
from typing import TYPE_CHECKING

import structlog

from edge_monitor.api.jobs import Jobs
from edge_monitor.config.file import load_settings
from edge_monitor.errors import ConfigError, ControlError, EdgeMonitorError, ReloadError
from edge_monitor.memory.generations import list_generations
from edge_monitor.node.learnt import require_bundle
from edge_monitor.node.preflight import require_named
from edge_monitor.runtime.daemon import Daemon, holding
from edge_monitor.runtime.reload import changed_keys
from edge_monitor.runtime.systemd import Notifier
from edge_monitor.store.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from edge_monitor.config.settings import Settings

log = structlog.get_logger()


class Runner:
    """One daemon after the other in this process, each with the settings of its day.

    A reload is an orderly end and a new start, so that every setting can change: alarms, inhibitions and all that
    waits for the broker come back from the database. Settings that cannot be used leave the running daemon alone.
    """

    def __init__(self, config_path: Path, log_lines_dropped: Callable[[], int] = int) -> None:
        self._path = config_path
        self.log_lines_dropped = log_lines_dropped
        self.jobs = Jobs()
        self._notifier = Notifier()
        self._settings = load_settings(config_path)
        self._next: Settings | None = None  # what to go on with once the running daemon has ended
        # Reloads asked for; put() may be called in a signal handler that interrupts another one.
        self._asked: queue.SimpleQueue[Future[tuple[str, ...]]] = queue.SimpleQueue()
        self._waiting: list[Future[tuple[str, ...]]] = []  # the askers of the reload that is under way
        self._outcome: tuple[str, ...] | ReloadError = ()  # what they are told as soon as a daemon runs
        self._starting = True
        self._ended = False  # by a signal, which may come between two daemons
        self._daemon = Daemon(self._settings, self._notifier, self)

    def run(self) -> int:
        """Run; return the exit code. Raises EdgeMonitorError for what makes a start impossible."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hangup)
        with holding(StateDir.of(self._settings.node)):  # also between two daemons: no command may come between
            code = self._daemon.run()
            while self._next is not None and not self._ended:
                before, self._settings, self._next = self._settings, self._next, None
                code = self._run_with(self._settings, else_with=before)
        self._notifier.stopping()
        return code

    def _run_with(self, settings: Settings, *, else_with: Settings) -> int:
        """Run with new settings; when they make a start impossible after all, with those from before."""
        self._starting = True
        try:
            return self._begin(settings)
        except EdgeMonitorError as error:
            if not self._starting:
                raise
            log.error("config.not_applied", reason=str(error), running_with="the configuration from before")
            self._outcome = ReloadError(error)
            self._settings = else_with
            return self._begin(else_with)

    def _begin(self, settings: Settings) -> int:
        self._daemon = Daemon(settings, self._notifier, self)
        gc.collect()  # the one that ended: its parts know each other, and the next ones need as much again
        return 0 if self._ended else self._daemon.run()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._ended = True
        self._notifier.stopping()
        self._daemon.stop()

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.put(Future())

    # --- as Reloading -----------------------------------------------------------------------------------------------

    def started(self) -> None:
        """Tell who asked for the reload what came of it: a daemon runs."""
        self._starting = False
        waiting, self._waiting = self._waiting, []
        for asker in waiting:
            if isinstance(self._outcome, ReloadError):
                asker.set_exception(self._outcome)
            else:
                asker.set_result(self._outcome)

    def reload(self) -> tuple[str, ...]:
        """Load the configuration again; return the keys that changed once they are in force. Raises ReloadError."""
        asker: Future[tuple[str, ...]] = Future()
        self._asked.put(asker)
        return asker.result()

    def turn(self) -> None:
        """Look at the configuration if that was asked for."""
        while not self._asked.empty():
            self._waiting.append(self._asked.get())
        if not self._waiting:
            return
        self._notifier.reloading()
        try:
            settings = load_settings(self._path)
            _check(self._settings, settings)
        except EdgeMonitorError as error:
            log.error("config.rejected", reason=str(error), running_with="the configuration from before")
            self._go_on(ReloadError(error))
            return
        self._outcome = changed_keys(self._settings, settings)
        if not self._outcome:
            log.info("config.unchanged")
            self._go_on(())
            return
        if busy := self._daemon.busy():  # what is half done would be cut off
            refused = ControlError(busy, hint="reload once that has ended")
            log.error("config.refused", reason=str(refused), running_with="the configuration from before")
            self._go_on(ReloadError(refused))
            return
        log.info("config.reloading", changed=self._outcome)
        self._next = settings
        self._daemon.stop()

    def _go_on(self, outcome: tuple[str, ...] | ReloadError) -> None:
        self._outcome = outcome
        self._notifier.ready()
        self.started()


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
