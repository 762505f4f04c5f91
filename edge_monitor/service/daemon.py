"""The daemon: sources, pipeline, storage, publisher, explainer and control socket, and the thread that minds them."""

from __future__ import annotations

import os
import queue
import signal
import threading
import uuid
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.capture.gate import parse_run_signal
from edge_monitor.capture.source import open_sources
from edge_monitor.deliver.compose import score_payload, status_payload
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.deliver.topics import Topics
from edge_monitor.encode.encoder import Encoder
from edge_monitor.service import minutes
from edge_monitor.service.alarm_desk import AlarmDesk
from edge_monitor.service.allocator import give_memory_back
from edge_monitor.service.board import Board
from edge_monitor.service.control import ControlServer
from edge_monitor.service.feed import Feed
from edge_monitor.service.illustrator import Illustrator
from edge_monitor.service.learning import load_learnt
from edge_monitor.service.node import Node
from edge_monitor.service.operations.verbs import answer
from edge_monitor.service.outbox_port import StoredOutbox
from edge_monitor.service.pipeline import MachinePipeline
from edge_monitor.service.state_dir import PRIVATE_UMASK
from edge_monitor.service.storage import StorageThread
from edge_monitor.service.taps import Taps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.capture.source import Source
    from edge_monitor.config import MachineSettings, Settings
    from edge_monitor.records import AudioBlock, AudioLoss
    from edge_monitor.service.pipeline import Heard

log = structlog.get_logger()

REPUBLISH_S = 60.0  # DESIGN: states are re-published every minute
FLUSH_S = 30.0  # score aggregates are written this often
TICK_S = 0.5
# Longer than a window takes to fill after a gap, plus the 10 s within which deafness must show.
DEAF_AFTER_WINDOW_S = 10.0
DRAIN_S = 10.0  # at the end of recordings the broker gets this long to take the last alerts


class Daemon(Node):
    """Runs one node until stopped, or until its recordings end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.taps = Taps()
        self._stop = threading.Event()
        self._started = clock.now()
        self._feed = Feed()
        self._sources: list[Source] = []
        self._minutes = minutes.ScoreMinutes()
        self._flushed_s = self._started.monotonic_s

    def stop(self) -> None:
        """End the run soon; from any thread or a signal handler."""
        self._stop.set()
        self._feed.close()

    def run(self) -> int:
        """Run; return the exit code. Raises EdgeMonitorError for what makes a start impossible."""
        give_memory_back()
        os.umask(PRIVATE_UMASK)
        self.state_dir.create()
        with ExitStack() as stack:
            stack.enter_context(self.state_dir.lock())
            encoder = Encoder(self.bundle, self.settings.model.threads)
            self._sources = open_sources(self.settings.machine)
            for source in self._sources:
                stack.callback(source.close)
            self.storage = StorageThread(self.state_dir.database)
            stack.callback(self.storage.close)
            self.publisher = self._open_publisher(stack)
            self.board = Board(self.settings.node, self.settings.machine, self._publish_state)
            self.illustrator = Illustrator(self, self.storage)
            self.desk = AlarmDesk(self)
            self.pipelines = {machine.name: self._pipeline(machine.name, encoder) for machine in self.settings.machine}
            server = ControlServer(self.state_dir.control_socket, lambda verb, asked: answer(self, verb, asked))
            stack.callback(server.close)
            if self.publisher:
                self.publisher.start()
            log.info(
                "service.started",
                bundle=self.bundle.name,
                machines=len(self.pipelines),
                state_dir=str(self.state_dir.path),
            )
            self._listen_for_signals()
            self._work()
            log.info("service.stopped")
            return 1 if self._feed.failure else 0

    # --- start ------------------------------------------------------------------------------------------------------

    def _open_publisher(self, stack: ExitStack) -> Publisher | None:
        if self.settings.mqtt is None:
            return None
        mqtt, node = self.settings.mqtt, self.settings.node
        outbox = StoredOutbox(self.state_dir.database, self.storage)
        stack.callback(outbox.close)
        topics = Topics(mqtt.topic_prefix, node.site, node.name)
        publisher = Publisher(mqtt, topics, outbox, self._status, subscriptions=self._run_topics())
        stack.callback(self._stop_publisher, publisher)
        return publisher

    def _run_topics(self) -> dict[str, Callable[[bytes], None]]:
        """Return what listens to the plant's run and speed topics; machines may share one."""
        listeners: dict[str, Callable[[bytes], None]] = {}
        for topic in {machine.running.topic for machine in self.settings.machine} - {None}:
            sharing = [machine for machine in self.settings.machine if machine.running.topic == topic]
            listeners[str(topic)] = partial(self._tell_running, sharing)
        return listeners

    def _tell_running(self, machines: list[MachineSettings], payload: bytes) -> None:
        for machine in machines:
            running = parse_run_signal(payload, machine.running.running_above)
            if running is None:
                log.warning("service.run_signal_unclear", machine=machine.name, payload=repr(payload[:40]))
            else:
                self.pipelines[machine.name].tell_running(running=running)

    def _stop_publisher(self, publisher: Publisher) -> None:
        if not publisher.stop():
            log.warning("deliver.stop_timed_out")

    def _pipeline(self, name: str, encoder: Encoder) -> MachinePipeline:
        machine = self.machine(name)
        with self.database() as connection:
            restored = history.restore(
                connection, name, cooldown_s=machine.alarm.cooldown_s, wall_ms=clock.now().wall_ms
            )
        learnt = load_learnt(self, name, build=False)
        if restored.active is not None:
            self.board.committed(name, restored.active.alarm_id)
            log.info("alarm.restored", machine=name, alarm_id=restored.active.alarm_id)
        self.board.set_generation(name, learnt.scorer.generation.number if learnt else None)
        return MachinePipeline(
            machine,
            encoder,
            hop_s=self.settings.model.hop_s,
            learnt=learnt,
            restored=restored,
            new_id=lambda: str(uuid.uuid4()),
        )

    def _listen_for_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop())

    # --- work -------------------------------------------------------------------------------------------------------

    def _rebuild_indexes(self) -> None:
        """Build what exact search stands in for, beside the audio."""
        for name, pipeline in self.pipelines.items():
            if pipeline.learnt is not None and pipeline.learnt.scorer.index_source.startswith("exact"):
                self.generation_changed(name)

    def _work(self) -> None:
        threading.Thread(target=self._rebuild_indexes, name="indexer", daemon=True).start()
        for source in self._sources:
            self._feed.follow(source)
        pipeline = threading.Thread(target=self._hear, name="pipeline", daemon=True)
        pipeline.start()
        republished_s = self._started.monotonic_s
        while pipeline.is_alive() and not self._stop.wait(TICK_S):
            self.desk.retry()
            self._notice_deafness()
            if clock.now().monotonic_s - republished_s >= REPUBLISH_S:
                republished_s += REPUBLISH_S
                self.board.republish()
                if self.publisher:
                    self.publisher.refresh_status()
        if not self._stop.is_set() and self.publisher:
            self._drain(self.publisher)
        pipeline.join(timeout=2.0)
        self.illustrator.close(timeout_s=1.0)

    def _drain(self, publisher: Publisher) -> None:
        """Give the broker a chance to take what is left of a recording that has ended."""
        deadline_s = clock.now().monotonic_s + DRAIN_S
        self.storage.submit(lambda _: None).result()
        while clock.now().monotonic_s < deadline_s and not self._stop.wait(0.05):
            with self.database() as connection:
                waiting = connection.execute("SELECT count(*) FROM outbox WHERE parked_reason IS NULL").fetchone()[0]
            if not waiting:
                return
            publisher.wake()

    def _hear(self) -> None:
        """Take audio to its end: the pipeline thread."""
        while not self._stop.is_set() and not self._feed.exhausted:
            item = self._feed.get(timeout_s=TICK_S)
            if item is not None:
                self.taps.put(item)
                self._process(item)
            if clock.now().monotonic_s - self._flushed_s >= FLUSH_S:
                self._flush_minutes()
        self._flush_minutes()

    def _process(self, item: AudioBlock | AudioLoss) -> None:
        for heard in self.pipelines[item.machine].process(item, lambda: clock.now().wall_ms):
            wall_ms = clock.now().wall_ms
            if heard.event is not None:
                self.desk.commit(heard.event, heard.proof)
            self.board.heard(heard)
            if heard.anomalous is not None:
                self.desk.keep_window(heard.machine, heard.anomalous)
            if heard.score is not None:
                self._minutes.add_score(heard.score, wall_ms)
                self._publish_score(heard)
            elif heard.window is not None:
                self._minutes.add_fault(heard.machine, wall_ms)
            self.taps.put(heard)

    def _flush_minutes(self) -> None:
        self._flushed_s = clock.now().monotonic_s
        rows = self._minutes.take()
        if rows:
            self.storage.submit(lambda connection: minutes.write(connection, rows))

    def _notice_deafness(self) -> None:
        limit_s = self.window_s + DEAF_AFTER_WINDOW_S
        for source in self._sources:
            for machine in source.machines if source.live else ():
                silent_s = self.board.silent_for_s(machine)
                if silent_s > limit_s:
                    self.board.deaf(machine, f"no window could be scored for {silent_s:.0f} s")

    # --- tell -------------------------------------------------------------------------------------------------------

    def _publish_state(self, machine: str, payload: bytes) -> None:
        if self.publisher:
            self.publisher.set_state(machine, payload)

    def _publish_score(self, heard: Heard) -> None:
        if self.publisher is None or heard.score is None:
            return
        lag_s = max(0.0, clock.now().monotonic_s - heard.end_s) if self._is_live(heard.machine) else 0.0
        payload = score_payload(
            self.settings.node,
            self.machine(heard.machine),
            heard.score,
            lag_s=lag_s,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
        )
        self.publisher.publish_score(heard.machine, payload.encode())

    def _is_live(self, machine: str) -> bool:
        return any(machine in source.machines for source in self._sources if source.live)

    def _status(self, state: Literal["online", "stopped", "offline"], reason: str) -> bytes:
        health = self.publisher.health() if self.publisher else None
        return status_payload(
            self.settings.node,
            state=state,
            reason=reason,
            bundle=self.bundle.name,
            started_ms=self._started.wall_ms,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
            alerts_queued=health.outbox.due if health else 0,
            alerts_parked=health.outbox.parked if health else 0,
            alerts_dropped=health.outbox.dropped + health.volatile_dropped if health else 0,
            frames_dropped=self._feed.dropped_frames,
        ).encode()

    # --- as a node --------------------------------------------------------------------------------------------------

    def generation_changed(self, machine: str) -> None:
        """Load the machine's active generation and swap it in between two windows."""
        learnt = load_learnt(self, machine)
        self.pipelines[machine].learnt = learnt
        self.board.set_generation(machine, learnt.scorer.generation.number if learnt else None)

    def hear(self, machine: str) -> Iterator[AudioBlock | AudioLoss | Heard]:
        """Yield what the machine's pipeline takes in and what becomes of it, from now on."""
        with self.taps.open(machine) as tap:
            while not self._stop.is_set():
                try:
                    yield tap.get(timeout=TICK_S)
                except queue.Empty:
                    continue

    def set_learning(self, machine: str, *, learning: bool) -> None:
        """Have the machine's windows enrolled (no alarm is raised meanwhile), or scored again."""
        self.pipelines[machine].learning = learning

    def inhibit(self, machine: str, seconds: float) -> None:
        """Raise no new alarm of a machine for `seconds` of stream time; 0 ends that."""
        self.pipelines[machine].inhibit_s = seconds

    def status(self) -> dict[str, Any]:
        """Return what the daemon does, as plain JSON types."""
        health = self.publisher.health() if self.publisher else None
        return {
            "running": True,
            "started": clock.rfc3339(self._started.wall_ms),
            "bundle": self.bundle.name,
            "mqtt": None
            if health is None
            else {
                "connected": health.connected,
                "last_error": health.last_error,
                "queued": health.outbox.due,
                "parked": health.outbox.parked,
                "dropped": health.outbox.dropped,
            },
            "dropped_frames": self._feed.dropped_frames,
            "machines": self.board.snapshot(),
        }
