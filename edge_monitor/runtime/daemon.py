"""The daemon: builds its parts, starts them, and looks after them in the main thread."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.api.jobs import Jobs
from edge_monitor.api.server import ApiServer
from edge_monitor.config.machine import MicrophoneSource
from edge_monitor.counting import counted
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.errors import StorageError
from edge_monitor.node.node import Node
from edge_monitor.node.used_bundle import GO_OVER
from edge_monitor.runtime.allocator import give_memory_back
from edge_monitor.runtime.audio_queue import AudioQueue
from edge_monitor.runtime.composition import Parts
from edge_monitor.store.state_dir import PRIVATE_UMASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import Settings
    from edge_monitor.runtime.reload import Reloading
    from edge_monitor.runtime.systemd import Notifier
    from edge_monitor.store.state_dir import StateDir

log = structlog.get_logger()

REPUBLISH_S = 60.0  # docs/scada.md: states are re-published every minute
TICK_S = 0.5
# Longer than a window takes to fill after a gap, plus the 10 s within which silence must show.
SILENT_AFTER_WINDOW_S = 10.0
DRAIN_S = 10.0  # at the end of recordings the broker gets this long to take the last alerts


@contextmanager
def holding(state_dir: StateDir) -> Iterator[None]:
    """Hold a state directory for a daemon during the body, made if need be. Raises StorageError."""
    os.umask(PRIVATE_UMASK)
    state_dir.create()
    state_dir.refuse_to_run_as_somebody_else()
    with state_dir.lock():
        yield


class Daemon:
    """Runs one node until stopped, until its recordings end, or until one of its threads fails for good."""

    def __init__(self, settings: Settings, notifier: Notifier, runner: Reloading | None = None) -> None:
        self.node = Node(settings)
        self.parts: Parts | None = None  # once they are built
        self._notifier = notifier
        self._runner = runner
        self._jobs = Jobs() if runner is None else runner.jobs
        self._audio = AudioQueue()
        self._stopping = threading.Event()
        self._failed = False
        self._api: ApiServer | None = None  # once the rest is open

    def busy(self) -> str | None:
        """Return in one line what an end of the run would cut off; None: nothing."""
        names = list(self._jobs.changing())
        if self.parts is not None and self.parts.commands is not None and self.parts.commands.learning:
            names.append("learn")
        if names:
            return f"{', '.join(names)} under way"
        if self.parts is not None and (waiting := self.parts.recorder.in_memory):
            return f"{counted(waiting, 'alarm')} in memory, which the disk does not take"
        return None

    def stop(self) -> None:
        """End the run soon; from any thread or a signal handler."""
        self._stopping.set()
        self._audio.close()

    def run(self) -> int:
        """Run; return the exit code. Raises EdgeMonitorError for what makes a start impossible."""
        give_memory_back()
        state_dir = self.node.state_dir
        with ExitStack() as stack:
            if self._runner is None:  # else it holds the lock, for one daemon after the other
                stack.enter_context(holding(state_dir))
            parts = Parts(
                self.node,
                self._audio,
                self._stopping,
                notifier=self._notifier,
                reload=None if self._runner is None else self._runner.reload,
                log_lines_dropped=int if self._runner is None else self._runner.log_lines_dropped,
                stack=stack,
            )
            self._start(parts, stack)
            self.parts = parts
            log.info(
                "service.started",
                bundle=self.node.bundle.name,
                machines=len(parts.pipelines),
                state_dir=str(state_dir.path),
            )
            if text := self.node.used_bundle.superseded:
                log.warning("service.bundle_superseded", text=text, hint=GO_OVER)
            self._notifier.ready()
            if self._runner:
                self._runner.started()
            self._work(parts)
        log.info("service.stopped", failed=self._failed)
        return 1 if self._failed or self._audio.failure else 0

    def _start(self, parts: Parts, stack: ExitStack) -> None:
        """Start what must be there before the sound is."""
        parts.removed.end_alarms(parts.publisher.clear_retained)
        if self.node.settings.metrics is not None:
            from edge_monitor.runtime.metrics import MetricsServer, NodeCollector

            collector = NodeCollector(parts.figures, parts.encoder, parts.states.snapshot)
            stack.callback(MetricsServer(self.node.settings.metrics, collector).close)
        if parts.commands:
            parts.commands.thread.start()
        parts.publisher.start()
        parts.measuring.thread.start()
        parts.wording.thread.start()
        parts.housekeeping.thread.start()
        parts.trends.thread.start()
        # Last: whoever gets an answer finds the rest open.
        self._api = ApiServer(self.node.state_dir.control_socket, self.node, self._jobs)
        stack.callback(self._api.close)
        parts.api_turned_s = partial(getattr, self._api, "turned_s")

    def _work(self, parts: Parts) -> None:
        parts.indexer.start()
        for source in parts.sources:
            self._audio.follow(source)
        parts.pipeline.thread.start()
        self._look_after(parts)
        ended = self._audio.exhausted and not self._failed
        if not (ended or self._failed or self._stopping.is_set()):
            self._failed = True
            log.critical("service.thread_died", pipeline_alive=parts.pipeline.thread.is_alive())
        if ended:
            self._drain(parts)
        self.stop()
        parts.pipeline.thread.join(2.0)
        parts.recorder.settle(timeout_s=1.0)
        parts.measuring.close(timeout_s=1.0)
        parts.wording.close()
        parts.indexer.join(0.0)

    def _look_after(self, parts: Parts) -> None:
        """Do what is due, twice a second, until the sound ends, a stop is asked for or a thread has died."""
        every_s = max(self.node.window_s, self.node.settings.model.hop_s)
        limits_s = {machine.name: _silent_after_s(machine, every_s) for machine in self.node.settings.machine}
        republished_s = parts.started.monotonic_s
        while parts.pipeline.thread.is_alive() and not self._stopping.wait(TICK_S):
            parts.recorder.retry()
            parts.timekeeper.tick()
            for machine, limit_s in limits_s.items():
                parts.states.note_silence(machine, limit_s)
            dead = parts.dead() + ([] if self._api is None or self._api.alive else ["api"])
            if dead and not self._stopping.is_set():  # sources end by themselves after a stop
                self._failed = True
                log.critical("service.thread_died", threads=dead)
            if dead:
                break
            parts.report.tick()
            if parts.report.hopeless:
                self._failed = True
                break
            if self._runner:
                self._runner.turn()
            if clock.now().monotonic_s - republished_s >= REPUBLISH_S:
                republished_s += REPUBLISH_S
                parts.publish_all()

    def _drain(self, parts: Parts) -> None:
        """Have the last alarms of a recording that has ended stored, explained and delivered, within DRAIN_S."""
        deadline_s = clock.now().monotonic_s + DRAIN_S
        parts.recorder.settle(timeout_s=DRAIN_S)
        while clock.now().monotonic_s < deadline_s and not self._stopping.wait(0.05):
            if parts.measuring.idle and parts.wording.idle and self._delivered(parts):
                return

    def _delivered(self, parts: Parts) -> bool:
        """Return whether nothing waits for the broker, there is none, or that cannot be read."""
        try:
            with self.node.reading() as connection:
                return parts.broker() is None or Outbox(connection).counts().due == 0
        except (sqlite3.Error, StorageError):
            return True


def _silent_after_s(machine: MachineSettings, every_s: float) -> float:
    """Return after how long without a window, which comes every so often, a machine's source is silent, seconds."""
    pace = "realtime" if isinstance(machine.source, MicrophoneSource) else machine.source.pace
    return every_s / (min(pace, 1.0) if isinstance(pace, float) else 1.0) + SILENT_AFTER_WINDOW_S
