"""The daemon: its parts, and the thread that minds them."""

from __future__ import annotations

import os
import queue
import threading
import uuid
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.api.jobs import Jobs
from edge_monitor.api.server import ApiServer
from edge_monitor.capture.source import open_sources
from edge_monitor.errors import ControlError
from edge_monitor.explain.jobs import MEASURED
from edge_monitor.node.learning import load_learnt
from edge_monitor.node.node import Node
from edge_monitor.pipeline.machine_pipeline import Learnt, MachinePipeline
from edge_monitor.pipeline.timed_encoder import TimedEncoder
from edge_monitor.records import AudioLoss
from edge_monitor.runtime import removed_machines
from edge_monitor.runtime.alarm_recorder import AlarmRecorder
from edge_monitor.runtime.allocator import give_memory_back
from edge_monitor.runtime.audio_queue import AudioQueue
from edge_monitor.runtime.health import ExplanationCounts, observe
from edge_monitor.runtime.housekeeping import Housekeeping
from edge_monitor.runtime.machine_states import MachineStates
from edge_monitor.runtime.measuring_worker import MeasuringWorker
from edge_monitor.runtime.pipeline_thread import PipelineThread
from edge_monitor.runtime.plant_link import PlantLink
from edge_monitor.runtime.supervision import SupervisedThread, storage
from edge_monitor.runtime.taps import Taps
from edge_monitor.runtime.timekeeper import Timekeeper
from edge_monitor.runtime.unfinished import Unfinished
from edge_monitor.runtime.watchdog import Progress, stuck
from edge_monitor.runtime.wording_worker import WordingWorker
from edge_monitor.store.state_dir import PRIVATE_UMASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.capture.source import Source
    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.pipeline.machine_pipeline import WindowResult
    from edge_monitor.records import AudioBlock
    from edge_monitor.runtime.reload import Reloading
    from edge_monitor.runtime.supervision import ThreadHealth
    from edge_monitor.runtime.systemd import Notifier

T = TypeVar("T")
log = structlog.get_logger()

REPUBLISH_S = 60.0  # docs/scada.md: states are re-published every minute
TICK_S = 0.5
# Longer than a window takes to fill after a gap, plus the 10 s within which deafness must show.
DEAF_AFTER_WINDOW_S = 10.0
DRAIN_S = 10.0  # at the end of recordings the broker gets this long to take the last alerts


class Daemon(Node):
    """Runs one node until stopped, until its recordings end, or until one of its threads fails for good."""

    def __init__(self, settings: Settings, notifier: Notifier, runner: Reloading | None = None) -> None:
        super().__init__(settings, running=self)
        self._runner = runner
        self._jobs = Jobs() if runner is None else runner.jobs
        self.taps = Taps()
        self.notifier = notifier
        self.feed = AudioQueue()
        self.hearing = PipelineThread(self)
        self.told = ExplanationCounts()
        self.link: PlantLink | None = None
        self._stop = threading.Event()
        self._started = clock.now()
        self._sources: list[Source] = []
        self._live: frozenset[str] = frozenset()
        self._swapping = threading.Lock()
        self._indexer = SupervisedThread("indexer", self._rebuild_indexes)  # ends when there is nothing to build
        self._failed = False
        self._hang = ""  # what stands still

    @property
    def methods(self) -> tuple[str, ...]:
        """Return how each alarm is explained: measured, and worded by an LLM if one is configured."""
        return (MEASURED,) if self.settings.explain.llm == "off" else (MEASURED, self.prompts.method)

    @property
    def stopping(self) -> bool:
        """Return True once a stop was asked for."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the run soon; from any thread or a signal handler."""
        self._stop.set()
        self.feed.close()

    def wait_for_stop(self, seconds: float) -> bool:
        """Return True as soon as a stop was asked for, False after `seconds`."""
        return self._stop.wait(seconds)

    @property
    def started_s(self) -> float:
        """Return when it started, monotonic seconds."""
        return self._started.monotonic_s

    def is_live(self, machine: str) -> bool:
        """Return whether a machine's sound comes as it is made and cannot be held back."""
        return machine in self._live

    def run(self) -> int:
        """Run; return the exit code. Raises EdgeMonitorError for what makes a start impossible."""
        give_memory_back()
        os.umask(PRIVATE_UMASK)
        self.state_dir.create()
        self.state_dir.refuse_to_run_as_somebody_else()
        with ExitStack() as stack:
            stack.enter_context(self.state_dir.lock())
            self._open(stack)
            log.info(
                "service.started",
                bundle=self.bundle.name,
                machines=len(self.pipelines),
                state_dir=str(self.state_dir.path),
            )
            self.notifier.ready()
            if self._runner:
                self._runner.started()
            self._work()
        log.info("service.stopped", failed=self._failed)
        return 1 if self._failed or self.feed.failure else 0

    # --- start ------------------------------------------------------------------------------------------------------

    def _open(self, stack: ExitStack) -> None:
        """Make every part; `stack` ends them in the opposite order."""
        self.encoder = TimedEncoder(self.bundle, self.settings.model.threads)
        self._sources = open_sources(self.settings.machine)
        for source in self._sources:
            stack.callback(source.close)
        self._live = frozenset(machine for source in self._sources if source.live for machine in source.machines)
        stack.enter_context(self.store)
        self.writer = self.store.writer
        self._unfinished = Unfinished(self.store)
        if self.settings.mqtt is not None:
            self.link = PlantLink(self, self.settings.mqtt, self._told_running)
            stack.callback(self.link.close)
        self.board = MachineStates(
            self.settings.node, self.settings.machine, self.link.set_state if self.link else lambda *_: None
        )
        removed_machines.take_leave(self)
        self.timekeeper = Timekeeper(self)
        self.narrator = WordingWorker(self)
        self.explainer = MeasuringWorker(self)
        self.desk = AlarmRecorder(self)
        self.housekeeping = Housekeeping(self)
        self.pipelines = {machine.name: self._pipeline(machine.name, self.encoder) for machine in self.settings.machine}
        if self.settings.metrics is not None:
            from edge_monitor.runtime.metrics import MetricsServer

            stack.callback(MetricsServer(self.settings.metrics, self).close)
        if self.link:
            self.link.start()
        self.explainer.start()
        self.narrator.start()
        self.housekeeping.start()
        stack.callback(self.housekeeping.close)
        # Last: whoever gets an answer finds the rest open.
        server = ApiServer(self.state_dir.control_socket, self, self._jobs)
        stack.callback(server.close)

    def _pipeline(self, name: str, encoder: Encoder) -> MachinePipeline:
        machine = self.machine(name)
        with self.reading() as connection:
            restored = history.restore(
                connection, name, cooldown_s=machine.alarm.cooldown_s, wall_ms=clock.now().wall_ms
            )
        learnt = load_learnt(self, name, build=False)
        if restored.active is not None:
            self.board.committed(name, restored.active.alarm_id)
            log.info("alarm.restored", machine=name, alarm_id=restored.active.alarm_id)
        self._tell_generation(name, learnt)
        return MachinePipeline(
            machine,
            encoder,
            hop_s=self.settings.model.hop_s,
            learnt=learnt,
            restored=restored,
            new_id=lambda: str(uuid.uuid4()),
        )

    # --- work -------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._indexer.start()
        for source in self._sources:
            self.feed.follow(source)
        self.hearing.start()
        republished_s = self._started.monotonic_s
        while self.hearing.is_alive() and not self._stop.wait(TICK_S):
            self.desk.retry()
            self.timekeeper.tick()
            self._notice_deafness()
            if not self._all_alive():
                break
            self._tell_service_manager()
            if self._runner:
                self._runner.turn()
            if clock.now().monotonic_s - republished_s >= REPUBLISH_S:
                republished_s += REPUBLISH_S
                self.board.republish()
                if self.link:
                    self.link.refresh_status()
        ended = self.feed.exhausted and not self._failed
        if not ended and not self.stopping:
            self._failed = True
            log.critical("service.thread_died", pipeline_alive=self.hearing.is_alive())
        if ended:
            self._drain()
        self.stop()
        self.hearing.join(2.0)
        self.desk.settle(timeout_s=1.0)
        self.explainer.close(timeout_s=1.0)
        self.narrator.close()
        self._indexer.join(0.0)

    def _all_alive(self) -> bool:
        """Return whether the threads nobody else waits for still run; without them the node would fall silent."""
        lasting = [storage(self.store), self.explainer.health(), self.narrator.health(), *self.feed.threads()]
        dead = [each.name for each in lasting if not each.alive]
        if self.link is not None and not self.link.health().alive:
            dead.append("publisher")
        if dead and not self.stopping:  # sources end by themselves after a stop
            self._failed = True
            log.critical("service.thread_died", threads=dead)
        return not dead

    def _tell_service_manager(self) -> None:
        """Ping the watchdog while there is progress; a microphone or a broker that is away is no hang."""
        now_s = clock.now().monotonic_s
        health = None if self.link is None else self.link.health()
        published_s = None if health is None else health.turned_s
        hang = stuck(Progress(self.hearing.turned_s, self.writer.busy_since_s, published_s), now_s)
        if hang != self._hang:
            self._hang = hang
            log.critical("service.stuck" if hang else "service.unstuck", reason=hang)
        if not hang:
            self.notifier.ping(now_s)
        states = ", ".join(f"{each['machine']} {each['state']}" for each in self.board.snapshot())
        broker = "" if health is None else f"; broker {'connected' if health.connected else 'away'}"
        self.notifier.status(hang or f"{states}{broker}")

    def threads(self) -> list[ThreadHealth]:
        """Return how the daemon's threads fare."""
        own = [each.health() for each in (self.explainer, self.narrator, self.housekeeping)]
        own += [each for each in (self._indexer.health(),) if each.alive]  # the only one that gets done
        own = [self.hearing.health(), storage(self.store), *own, *self.feed.threads()]
        return own + (self.link.threads() if self.link else [])

    def _rebuild_indexes(self) -> None:
        """Build what exact search stands in for, beside the audio, once what a crash left half written is gone."""
        self._unfinished.discard()
        for name, pipeline in self.pipelines.items():
            if isinstance(pipeline.learnt, Learnt) and pipeline.learnt.scorer.index_source.startswith("exact"):
                self.generation_changed(name)

    def _drain(self) -> None:
        """Have the last alarms of a recording that has ended stored, explained and delivered, within DRAIN_S."""
        deadline_s = clock.now().monotonic_s + DRAIN_S
        self.desk.settle(timeout_s=DRAIN_S)
        while clock.now().monotonic_s < deadline_s and not self._stop.wait(0.05):
            if self.explainer.idle and self.narrator.idle and (self.link is None or self.link.delivered()):
                return

    def _notice_deafness(self) -> None:
        limit_s = self.window_s + DEAF_AFTER_WINDOW_S
        for machine in self._live:
            silent_s = self.board.silent_for_s(machine)
            if silent_s > limit_s:
                self.board.deaf(machine, f"no window could be judged for {silent_s:.0f} s")

    def _told_running(self, machine: str, running: bool | None) -> None:
        self.pipelines[machine].tell_running(running)

    # --- as a node --------------------------------------------------------------------------------------------------

    def generation_changed(self, machine: str) -> None:
        """Load the machine's active generation; the pipeline goes over to it between two blocks."""
        with self._swapping:  # else a slow load of an old generation could overtake the newest
            learnt = load_learnt(self, machine)
            self.pipelines[machine].swap(learnt)
            self._tell_generation(machine, learnt)

    def _tell_generation(self, machine: str, learnt: object) -> None:
        generation = learnt.scorer.generation if isinstance(learnt, Learnt) else None
        self.board.set_generation(machine, generation)
        if generation is not None:
            self.explainer.prepare(machine, generation.number)

    def hear(self, machine: str) -> Iterator[AudioBlock | AudioLoss | WindowResult]:
        """Yield what the machine's pipeline takes in and what becomes of it, from now on."""
        with self.taps.open(machine) as tap:
            while not self.stopping:
                try:
                    yield tap.get(timeout=TICK_S)
                except queue.Empty:
                    yield AudioLoss(machine, 0.0, "no sound comes from the source")

    def set_learning(self, machine: str, *, learning: bool) -> None:
        """Have the machine's windows enrolled (no alarm is raised meanwhile), or scored again.

        Raises ControlError when somebody else enrols it.
        """
        pipeline = self.pipelines[machine]
        if learning and pipeline.learning:
            raise ControlError("is being enrolled already", where=machine, hint="wait for the other enrolment to end")
        pipeline.learning = learning

    def inhibit(self, machine: str, seconds: float) -> None:
        """Raise no new alarm of a machine for `seconds` of stream time; 0 ends that."""
        self.pipelines[machine].inhibit(seconds)

    def alarms_in_memory(self) -> int:
        """Return how many alarms wait for the disk."""
        return self.desk.in_memory

    def reload(self) -> tuple[str, ...]:
        """Have another daemon with the configuration of now take this one's place, as `Reloading.reload`."""
        if self._runner is None:
            raise ControlError("this daemon cannot be reloaded", hint="restart it")
        return self._runner.reload()

    def outbox_changed(self) -> None:
        """Have the publisher look for messages to send."""
        if self.link:
            self.link.wake()

    def status(self) -> dict[str, Any]:
        """Return what the daemon does, as plain JSON types."""
        return {
            "running": True,
            "started": clock.rfc3339(self._started.wall_ms),
            "bundle": self.bundle.name,
            "mqtt": self.link.status() if self.link else None,
            "threads": [asdict(each) for each in self.threads()],
            "dropped_frames": self.feed.dropped_frames,
            "dropped_windows": self.hearing.windows_dropped,
            "health": asdict(observe(self)),
            "machines": self.board.snapshot(),
        }
