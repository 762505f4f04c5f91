"""The composition root: builds every part of the daemon and hands each what it uses. Read it from top to bottom."""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.capture.source import open_sources
from edge_monitor.deliver.outbox import OutboxCursor
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.deliver.topics import Topics
from edge_monitor.explain.evidence import EvidenceStore
from edge_monitor.explain.jobs import MEASURED
from edge_monitor.pipeline import score_minutes
from edge_monitor.pipeline.machine_pipeline import MachinePipeline
from edge_monitor.pipeline.timed_encoder import TimedEncoder
from edge_monitor.runtime.active_generations import ActiveGenerations
from edge_monitor.runtime.alarm_recorder import AlarmRecorder
from edge_monitor.runtime.daemon_status import DaemonStatus
from edge_monitor.runtime.explanation_recorder import ExplanationRecorder
from edge_monitor.runtime.housekeeping import Housekeeping
from edge_monitor.runtime.interrupted_changes import InterruptedChanges
from edge_monitor.runtime.machine_states import MachineStates
from edge_monitor.runtime.measuring_worker import MeasuringWorker
from edge_monitor.runtime.no_broker import NoBroker
from edge_monitor.runtime.node_figures import NodeFigures, resident_bytes
from edge_monitor.runtime.pipeline_thread import PipelineThread
from edge_monitor.runtime.plant_commands import PlantCommands
from edge_monitor.runtime.plant_messages import PlantMessages
from edge_monitor.runtime.progress_report import ProgressReport
from edge_monitor.runtime.removed_machines import RemovedMachines
from edge_monitor.runtime.run_signals import RunSignals
from edge_monitor.runtime.running_daemon import RunningDaemon
from edge_monitor.runtime.score_minutes_recorder import ScoreMinutesRecorder
from edge_monitor.runtime.standstill_recorder import StandstillRecorder
from edge_monitor.runtime.supervision import SupervisedThread, storage
from edge_monitor.runtime.taps import Taps
from edge_monitor.runtime.timekeeper import Timekeeper
from edge_monitor.runtime.trend_recorder import TrendRecorder
from edge_monitor.runtime.watchdog import Progress
from edge_monitor.runtime.wording_worker import WordingWorker

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextlib import ExitStack

    from edge_monitor.deliver.health import PublisherHealth
    from edge_monitor.node.node import Node
    from edge_monitor.records import Score
    from edge_monitor.runtime.audio_queue import AudioQueue
    from edge_monitor.runtime.supervision import ThreadHealth
    from edge_monitor.runtime.systemd import Notifier

log = structlog.get_logger()


class Parts:
    """Every part of a daemon. Its main thread alone has them all; each part is handed only what it uses.

    No thread is started here but the writer's. Raises EdgeMonitorError for what makes a start impossible.
    """

    def __init__(
        self,
        node: Node,
        audio: AudioQueue,
        stopping: threading.Event,
        *,
        notifier: Notifier,
        reload: Callable[[], tuple[str, ...]] | None,
        log_lines_dropped: Callable[[], int],
        stack: ExitStack,
    ) -> None:
        self.node = node
        self.audio = audio
        self.started = clock.now()
        self.api_turned_s: Callable[[], float | None] = lambda: None  # once it is there
        self._stopping = stopping
        self._log_lines_dropped = log_lines_dropped
        self._machines = {machine.name: machine for machine in node.settings.machine}
        # `stack` closes everything in the opposite order.
        self._open_store(stack)  # which also says which bundle everything was learnt with
        self._open_sound(stack)
        self._connect_plant(stack)
        self._keep_time_and_states()
        self._explain()
        self._record(stack)
        self._judge()
        self.figures = NodeFigures(self._sources())
        self.report = ProgressReport(notifier, self.states, self._progress, self.broker)
        self.indexer = SupervisedThread("indexer", self._index)  # ends when there is nothing to build
        status = DaemonStatus(
            node.bundle.name,
            self.started.wall_ms,
            self.figures,
            self.states,
            threads=self.threads,
            broker=self.broker,
            stuck=self.report.standing_still,
        )
        node.running = RunningDaemon(
            self.pipelines,
            self._generations,
            self.taps,
            stopping,
            status,
            in_memory=lambda: self.recorder.in_memory,
            wake=self.publisher.wake,
            load_again=reload,
        )

    # --- the parts, each after those it uses ------------------------------------------------------------------------

    def _open_sound(self, stack: ExitStack) -> None:
        self.encoder = TimedEncoder(self.node.bundle, self.node.settings.model.threads)
        self.sources = open_sources(self.node.settings.machine)
        for source in self.sources:
            stack.callback(source.close)
        self.pipelines: dict[str, MachinePipeline] = {}
        self.taps = Taps()

    def _open_store(self, stack: ExitStack) -> None:
        self.store = stack.enter_context(self.node.store).open()
        self._unfinished = InterruptedChanges(self.store)

    def _connect_plant(self, stack: ExitStack) -> None:
        settings = self.node.settings
        self._messages = PlantMessages(settings.node, settings.mqtt, settings.machine, self.node.bundle.name)
        self.removed = RemovedMachines(self.store, settings.machine, self._messages)
        self._outbox = OutboxCursor(self.store)
        self.publisher: Publisher | NoBroker = NoBroker()
        self.commands: PlantCommands | None = None  # where the plant may ask for something
        if settings.mqtt is None:
            return
        self._topics = Topics(settings.mqtt.topic_prefix, settings.node.site, settings.node.name)
        allowed = settings.mqtt.commands
        commands = PlantCommands(self.node, allowed, self._reply, self._stopping)
        self.commands = commands if allowed else None
        takers = {self._topics.command(name): partial(commands.take, name) for name in allowed}
        signals = RunSignals(settings.machine, lambda machine, running: self.pipelines[machine].tell_running(running))
        self.publisher = Publisher(
            settings.mqtt,
            self._topics,
            self._outbox,
            self._status_message,
            subscriptions={**signals.subscriptions(), **takers},
            on_lost=signals.lost,
            on_cleared=self.removed.forget,
        )
        stack.callback(self._end_publisher)
        stack.callback(commands.close)

    def _keep_time_and_states(self) -> None:
        settings = self.node.settings
        self.states = MachineStates(settings.node, settings.machine, self.publisher.set_state)
        self.timekeeper = Timekeeper(self.store, self.publish_all)

    def _explain(self) -> None:
        settings, believed_ms = self.node.settings, self.timekeeper.believed_ms
        self.explanations = ExplanationRecorder(self.store, self._messages, self._stopping, self.publisher.wake)
        self.wording = WordingWorker(
            settings.explain,
            self.store,
            self._machines,
            self.node.prompts,
            self.explanations,
            believed_ms=believed_ms,
            stopping=self._stopping,
        )
        self.measuring = MeasuringWorker(
            self.store,
            EvidenceStore(self.node.state_dir.evidence, settings.retention, lambda: believed_ms() / 1000),
            self._machines,
            self.node.bundle,
            self.explanations,
            caught_up=self.audio.caught_up,
            on_measured=self.wording.wake,
        )

    def _record(self, stack: ExitStack) -> None:
        settings = self.node.settings
        methods = (MEASURED,) if settings.explain.llm == "off" else (MEASURED, self.node.prompts.method)
        self.recorder = AlarmRecorder(
            self.store,
            self.states,
            self._messages,
            self.publisher,
            methods=methods,
            on_started=self.measuring.explain,
        )
        self.minutes = ScoreMinutesRecorder(self.store, self.recorder.note_disk)
        self.housekeeping = Housekeeping(
            self.store, settings.retention, self.timekeeper.believed_ms, self.measuring.tidy
        )
        stack.callback(self.housekeeping.thread.close)
        self.trends = TrendRecorder(self.store, settings.machine, self._messages, self.publisher.set_trend)
        stack.callback(self.trends.thread.close)

    def _judge(self) -> None:
        self._generations = ActiveGenerations(self.node, self.pipelines, self.states, self.measuring.prepare)
        for name, machine in self._machines.items():
            wall_ms = clock.now().wall_ms
            with self.store.reading() as connection:
                restored = history.restore(connection, name, cooldown_s=machine.alarm.cooldown_s, wall_ms=wall_ms)
                memory = score_minutes.remembered(connection, machine, self.encoder.window_s, wall_ms)
            if restored.active is not None:
                self.states.committed(restored.active)
                log.info("alarm.restored", machine=name, alarm_id=restored.active.alarm_id)
            self.pipelines[name] = MachinePipeline(
                machine,
                self.encoder,
                hop_s=self.node.settings.model.hop_s,
                learnt=self._generations.load_first(name),
                restored=replace(restored, memory=memory),
                new_id=lambda: str(uuid.uuid4()),
            )
        self.pipeline = PipelineThread(
            self.audio,
            self.pipelines,
            self.recorder,
            self.states,
            minutes=self.minutes,
            standstills=StandstillRecorder(self.store, self.recorder.note_disk),
            taps=self.taps,
            publish_score=self._publish_score,
        )

    # --- what the parts ask of each other ---------------------------------------------------------------------------

    def _sources(self) -> dict[str, Callable[[], float | None] | None]:
        """Return where each figure is counted."""
        broker, encoder, recorder, measuring = self.publisher.health, self.encoder, self.recorder, self.measuring
        return {
            "uptime_s": lambda: round(clock.now().monotonic_s - self.started.monotonic_s, 1),
            "memory_bytes": resident_bytes,
            "clock_synced": clock.synchronized,
            "clock_steps": lambda: self.timekeeper.steps,
            "storage_fault": lambda: self.states.faulty,
            "alarms_not_stored": lambda: recorder.not_stored,
            "score_minutes_lost": lambda: self.minutes.lost,
            "log_lines_dropped": self._log_lines_dropped,
            "evidence_lost": lambda: measuring.evidence_lost,
            "thread_restarts": lambda: sum(thread.restarts for thread in self.threads()),
            "encoder_last_s": lambda: encoder.last_s,
            "encoder_mean_s": lambda: encoder.total_s / max(sum(encoder.windows), 1),
            "frames_dropped": lambda: self.audio.dropped_frames,
            "windows_dropped": lambda: self.pipeline.windows_dropped,
            "outbox_rows": lambda: broker().outbox.due,
            "outbox_oldest_s": self._oldest_s,
            "outbox_parked": lambda: broker().outbox.parked,
            "outbox_dropped": lambda: (now := broker()).outbox.dropped + now.volatile_dropped,
            "explanations_queued": lambda: broker().outbox.explanations_due,
            "explanations_parked": lambda: broker().outbox.explanations_parked,
            "explanations_dropped": lambda: broker().outbox.explanations_dropped,
            "alerts_queued": lambda: (outbox := broker().outbox).due - outbox.explanations_due,
            "alerts_oldest_s": lambda: round(self._oldest_s(), 1),
            "alerts_parked": lambda: (outbox := broker().outbox).parked - outbox.explanations_parked,
            "alerts_dropped": lambda: (
                (now := broker()).outbox.dropped + now.volatile_dropped - now.outbox.explanations_dropped
            ),
            "publish_errors": lambda: broker().errors,
            "connections": lambda: broker().connections,
            "broker_connected": None if self.node.settings.mqtt is None else lambda: broker().connected,
            "explanations_ok": lambda: self.explanations.ok,
            "explanations_unavailable": lambda: self.explanations.unavailable,
            "explanations_waiting": lambda: measuring.waiting + self.wording.waiting,
        }

    def _oldest_s(self) -> float:
        """Return how long the oldest message has waited for the broker, seconds; 0.0 when none does."""
        oldest_ms = self._outbox.oldest_ms
        return 0.0 if oldest_ms is None else max(self.timekeeper.believed_ms() - oldest_ms, 0) / 1000

    def publish_all(self) -> None:
        """Publish every state and the node's status again."""
        self.states.republish()
        self.publisher.refresh_status()

    def _publish_score(self, score: Score, lag_s: float) -> None:
        if self.node.settings.mqtt is not None:
            self.publisher.publish_score(score.machine, self._messages.score(score, lag_s))

    def _status_message(self, state: Literal["online", "stopped", "offline"], reason: str) -> bytes:
        return self._messages.status(state, reason, started_ms=self.started.wall_ms, figures=self.figures.read())

    def _end_publisher(self) -> None:
        """Drain briefly, say `stopped`, disconnect; within 3 s whatever the broker does."""
        if not self.publisher.stop():
            log.warning("deliver.stop_timed_out")

    def _reply(self, payload: bytes) -> None:
        topic, at_ms = self._topics.command_reply, clock.now().wall_ms
        self.publisher.publish_volatile(topic, payload, alarm_id="", seq=0, created_ms=at_ms)

    def broker(self) -> PublisherHealth | None:
        """Return how the publisher fares; None where no broker is configured."""
        return None if self.node.settings.mqtt is None else self.publisher.health()

    def _progress(self) -> Progress:
        broker = self.broker()
        return Progress(
            self.pipeline.turned_s,
            self.store.writer.busy_since_s,
            publisher_turned_s=None if broker is None else broker.turned_s,
            connected=broker is not None and broker.connected,
            api_turned_s=self.api_turned_s(),
        )

    def _index(self) -> None:
        """Build what exact search stands in for, beside the audio, once what a crash left half written is gone."""
        self._unfinished.discard()
        self._generations.build_missing_indexes()

    def threads(self) -> list[ThreadHealth]:
        """Return how the daemon's threads fare."""
        others = [self.measuring.thread, self.wording.thread, self.housekeeping.thread, self.trends.thread]
        others += [self.indexer] if self.indexer.is_alive() else []  # the only one that gets done
        commands = [self.commands.thread.health()] if self.commands else []
        return [
            self.pipeline.thread.health(),
            storage(self.store),
            *(each.health() for each in others),
            *self.audio.threads(),
            *commands,
        ]

    def dead(self) -> list[str]:
        """Return the names of threads that have ended and must not: without them the node would fall silent."""
        threads = [self.measuring.thread, self.wording.thread, self.housekeeping.thread, self.trends.thread]
        threads += [self.commands.thread] if self.commands else []
        lasting = [storage(self.store), *(each.health() for each in threads)]
        broker = self.broker()
        publisher = [] if broker is None or broker.alive else ["publisher"]
        return [each.name for each in (*lasting, *self.audio.threads()) if not each.alive] + publisher
