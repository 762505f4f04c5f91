"""The pipeline thread: takes audio to its end, machine by machine, and outlives whatever goes wrong with one window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.pipeline import score_minutes
from edge_monitor.pipeline.machine_pipeline import WindowResult
from edge_monitor.records import AudioBlock, MachineState
from edge_monitor.runtime.supervision import SupervisedThread

if TYPE_CHECKING:
    import sqlite3
    from concurrent.futures import Future

    from edge_monitor.records import AudioLoss
    from edge_monitor.runtime.daemon import Daemon

log = structlog.get_logger()
FLUSH_S = 30.0  # score aggregates are written this often
IDLE_S = 0.5
# So much of a machine's sound may wait before its windows are skipped. The queue itself, at 10 s, drops sound, and each
# gap costs a whole window; a skipped window costs one hop.
BEHIND_S = 1.5
CAUGHT_UP_S = 0.2  # of a machine's sound in the queue: a block that has just come, and a window being judged
_COMPLAIN_S = 60.0  # a window that fails again and again is logged once a minute


class PipelineThread:
    """Runs the pipelines of all machines in one thread."""

    def __init__(self, daemon: Daemon) -> None:
        self.windows_dropped = 0  # not scored because scoring was too slow
        self._daemon = daemon
        self._minutes = score_minutes.ScoreMinutes()
        self._flushed_s = self._complained_s = clock.now().monotonic_s
        self._complained_s -= _COMPLAIN_S
        self.turned_s = clock.now().monotonic_s  # when the thread last took something, or found nothing to take
        self._thread = SupervisedThread("pipeline", self._run)
        self.start = self._thread.start
        self.is_alive = self._thread.is_alive
        self.join = self._thread.join
        self.health = self._thread.health

    def _run(self) -> None:
        feed = self._daemon.feed
        while not self._daemon.stopping and not feed.exhausted:
            item = feed.get(timeout_s=IDLE_S)
            self.turned_s = clock.now().monotonic_s
            if item is not None:
                self._daemon.taps.put(item)
                try:
                    self._take(item)
                except Exception as error:  # noqa: BLE001 - one machine's window must not deafen the others
                    self._survive(item, error)
            if clock.now().monotonic_s - self._flushed_s >= FLUSH_S:
                self._flush()
        self._flush()

    @property
    def score_minutes_lost(self) -> int:
        """Return how many minutes of scores, machine by machine, a failing disk has cost."""
        return self._minutes.lost

    @property
    def caught_up(self) -> bool:
        """Return whether no live sound has to wait."""
        daemon = self._daemon
        return all(daemon.feed.waiting_s(name) < CAUGHT_UP_S for name in daemon.pipelines if daemon.is_live(name))

    def _take(self, item: AudioBlock | AudioLoss) -> None:
        daemon = self._daemon
        pipeline = daemon.pipelines[item.machine]
        behind = daemon.is_live(item.machine) and daemon.feed.waiting_s(item.machine) > BEHIND_S
        for heard in pipeline.process(item, lambda: clock.now().wall_ms, skip=behind):
            if heard.event is not None:
                daemon.desk.commit(heard.event, heard.proof)
            if heard.anomalous is not None and pipeline.alarm.active is not None:
                daemon.desk.keep_window(pipeline.alarm.active.alarm_id, heard.anomalous)
            daemon.board.heard(heard, live=daemon.is_live(item.machine))
            self._note(heard)
            daemon.taps.put(heard)
        self.windows_dropped += pipeline.take_skipped()

    def _note(self, heard: WindowResult) -> None:
        now = clock.now()
        if heard.score is None:
            if heard.window is not None:
                self._minutes.add_fault(heard.machine, now.wall_ms)
            return
        if heard.state is not MachineState.INHIBITED:  # no alarm was possible: its absence promises nothing
            self._minutes.add_score(heard.score, now.wall_ms)
        if self._daemon.link is not None:
            live = self._daemon.is_live(heard.machine)
            lag_s = max(0.0, now.monotonic_s - heard.end_s) if live else 0.0
            self._daemon.link.publish_score(self._daemon.machine(heard.machine), heard.score, lag_s=lag_s)

    def _survive(self, item: AudioBlock | AudioLoss, error: Exception) -> None:
        """Show that this machine cannot be judged, and go on."""
        text = f"a window could not be judged: {error}"
        if clock.now().monotonic_s - self._complained_s >= _COMPLAIN_S:
            self._complained_s = clock.now().monotonic_s
            log.error("service.window_failed", machine=item.machine, exc_info=error)
        at_s = item.end_s if isinstance(item, AudioBlock) else item.at_s
        self._daemon.board.heard(WindowResult(item.machine, MachineState.SIGNAL_FAULT, at_s, text))

    def _flush(self) -> None:
        self._flushed_s = clock.now().monotonic_s
        rows = self._minutes.take()
        if not rows:
            return

        def settled(done: Future[None]) -> None:
            if error := done.exception():
                self._minutes.give_back(rows)
            self._daemon.desk.note_disk("" if error is None else f"scores could not be written: {error}")

        def write(connection: sqlite3.Connection) -> None:
            score_minutes.write(connection, rows)

        self._daemon.store.submit(write).add_done_callback(settled)
