"""Where an alarm becomes durable before anyone is told: its row and its message are one commit, in order."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.errors import StorageError
from edge_monitor.explain import jobs
from edge_monitor.records import EventKind
from edge_monitor.store import counters
from edge_monitor.store.jobs import Priority

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from edge_monitor.alarm.history import AnomalousWindow
    from edge_monitor.pipeline.alarm_audio import AlarmAudio
    from edge_monitor.records import AlarmEvent
    from edge_monitor.runtime.machine_states import MachineStates
    from edge_monitor.runtime.plant_messages import PlantMessages
    from edge_monitor.store.store import Store

log = structlog.get_logger()
AT_ONCE = 64  # entries in one commit: those that come while the disk is busy share an fsync
WAITING = 1000  # entries kept in memory while the disk fails; a few kB each
RETRY_S = 5.0
PATIENCE_S = 10.0  # a disk that takes longer over a commit is told of, and so are the alarms that wait for it
_HANGS = f"the disk has not answered for {PATIENCE_S:.0f} s"
_NAMES = {
    EventKind.CHANGED: "condition.changed",
    EventKind.START: "alarm.started",
    EventKind.UPDATE: "alarm.continued",
    EventKind.END: "alarm.ended",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event, or a further window of an alarm, on its way to the disk."""

    alarm_id: str
    event: AlarmEvent | None
    windows: tuple[AnomalousWindow, ...]
    proof: AlarmAudio | None  # to be explained; dropped when the disk fails, for it is large
    sent: bool = False  # already, from memory


class Plant(Protocol):
    """What the plant is told at once. All methods return at once."""

    def wake(self) -> None:
        """Look for messages to send."""

    def refresh_status(self) -> None:
        """Publish the node's status anew."""

    def publish_volatile(self, topic: str, payload: bytes, *, alarm_id: str, seq: int, created_ms: int) -> None:
        """Send a message that could not be committed."""


@dataclass(eq=False)
class AlarmRecorder:
    """Commits entries in order, all that wait at once.

    While the disk fails, alerts go out from memory and are written later. Each beginning of an alarm, or of an episode
    that is none yet, gets a waiting explanation by each of `methods`; `on_started` is called with its event, once
    committed, and its sound.

    `not_stored` counts the entries that had to be given up: too many waited, or they did not fit what is stored.
    """

    store: Store
    states: MachineStates
    messages: PlantMessages
    plant: Plant
    methods: tuple[str, ...]
    on_started: Callable[[AlarmEvent, AlarmAudio | None], None]

    def __post_init__(self) -> None:
        """Make what is its own."""
        self._changed = threading.Condition()
        self._waiting: deque[_Entry] = deque()
        self._writing = False  # a write is on its way
        self._in_hand = 0  # entries, the first ones, that it is to write
        self._apart = 0  # entries to commit one by one: some of them cannot be written together with the others
        self._writing_since_s = 0.0
        self._fault = ""  # why alarms cannot be written
        self._notice = self.store.writer.fault  # what else is wrong with the disk
        self._retry_at_s = clock.now().monotonic_s + RETRY_S
        self.not_stored = 0
        self.states.storage_fault(self._notice)

    def commit(self, event: AlarmEvent, proof: AlarmAudio | None) -> None:
        """Have an event committed; returns at once. State, alert and evidence follow the commit."""
        windows = tuple(reversed(proof.windows)) if proof else ()
        self._add(_Entry(event.alarm_id, event, windows, proof))

    def keep_window(self, alarm_id: str, window: AnomalousWindow) -> None:
        """Have another anomalous window kept with an alarm."""
        self._add(_Entry(alarm_id, None, (window,), None))

    def retry(self) -> None:
        """Try again what the disk would not take, and lose patience with it; called every now and then."""
        now_s = clock.now().monotonic_s
        busy_since_s = self.store.writer.busy_since_s
        hanging = busy_since_s is not None and now_s - busy_since_s > PATIENCE_S
        trouble = self.store.writer.missing or (_HANGS if hanging else "")
        if trouble and not (self._fault or self._notice):
            self.note_disk(trouble)
        with self._changed:
            if self._writing:
                slow = not self._fault and bool(self._waiting) and now_s - self._writing_since_s > PATIENCE_S
            else:
                slow = False
                if not (self._fault or self._notice) or now_s < self._retry_at_s:
                    return
                if not self._waiting:  # no alarm waits: any write tells whether the disk is back
                    self._begin()
                    self.store.submit(counters.touch).add_done_callback(self._tried)
                    return
        if slow:
            self._on_fault(_HANGS, writing=True)
        else:
            self._write_next()

    @property
    def in_memory(self) -> int:
        """Return how many alarms have begun of which the disk knows nothing yet, because it fails."""
        with self._changed:
            return sum(each.sent and each.event.begins for each in self._waiting if each.event)

    def settle(self, timeout_s: float) -> None:
        """Wait until everything is on disk, or the disk fails."""
        with self._changed:
            self._changed.wait_for(lambda: self._fault or not (self._waiting or self._writing), timeout_s)

    def note_disk(self, fault: str) -> None:
        """Take note that another write failed, for this reason, or (empty) went well. Alarms are tried all the same."""
        with self._changed:
            self._notice = fault
            self._retry_at_s = clock.now().monotonic_s + RETRY_S
            shown = self._fault or fault
        self.states.storage_fault(shown)

    def _begin(self) -> None:
        self._writing = True
        self._writing_since_s = clock.now().monotonic_s

    def _add(self, entry: _Entry) -> None:
        with self._changed:
            fault = self._fault
            if fault:
                entry = replace(entry, proof=None, sent=entry.event is not None)
            self._waiting.append(entry)
            lost = None
            if len(self._waiting) > WAITING:
                place = self._in_hand  # those before it are with the writer
                lost = self._waiting[place]
                del self._waiting[place]
                self.not_stored += 1
        if lost is not None:
            self._note_not_stored(lost, "the disk has failed for too long")
        if fault and entry.event is not None:
            self._send_from_memory(entry.event)
        if not fault:
            self._write_next()

    def _write_next(self) -> None:
        with self._changed:
            if self._writing or not self._waiting:
                return
            self._begin()
            self._in_hand = 1 if self._apart else min(len(self._waiting), AT_ONCE)
            entries = [self._waiting[place] for place in range(self._in_hand)]

        def write(connection: sqlite3.Connection) -> None:
            for entry in entries:
                self._write(connection, entry)

        self.store.submit(write, Priority.ALARM).add_done_callback(self._settled)

    def _write(self, connection: sqlite3.Connection, entry: _Entry) -> None:
        event = entry.event
        if event is not None:
            history.record(connection, event)
            if event.begins:
                jobs.create(connection, event.alarm_id, self.methods, event.at_ms)
        history.add_windows(connection, entry.alarm_id, entry.windows)
        if event is not None:
            for message in self.messages.told(event):
                self.messages.queue(connection, message)

    def _tried(self, done: Future[None]) -> None:
        """Go on after a write that was no entry's; alarms may have come meanwhile."""
        if error := done.exception():
            self._on_fault(f"the disk takes nothing: {error}", writing=False)
            return
        self._answered()
        self._write_next()

    def _settled(self, done: Future[None]) -> None:
        """Go on after a write of entries; runs in the writer's thread, as all here that follows a write."""
        error = done.exception()
        hopeless = isinstance(error, (sqlite3.IntegrityError, StorageError))  # no later try would fare better
        with self._changed:
            written, self._in_hand = self._in_hand, 0
            if hopeless and written > 1:  # of one of them, which shows when each is tried alone
                self._writing, self._apart = False, written
        if self._apart and written > 1:
            self._write_next()
            return
        if error is not None and not hopeless:
            self._on_fault(f"an alarm could not be written: {error}", writing=False)
            return
        with self._changed:
            entries = [self._waiting.popleft() for _ in range(written)]
            self._apart = max(0, self._apart - written)
            self.not_stored += hopeless
        self._answered()
        for entry in entries:
            if hopeless:
                self._note_not_stored(entry, str(error))
            if entry.event is not None:
                if not entry.sent:
                    (self._send_from_memory if hopeless else self._show)(entry.event)
                self.plant.wake()
                if error is None and entry.event.begins:
                    self.on_started(entry.event, entry.proof)
        self._write_next()

    def _answered(self) -> None:
        """Take note that the disk has answered."""
        with self._changed:
            self._writing = False
            recovered, self._fault, self._notice = bool(self._fault or self._notice), "", ""
            self._changed.notify_all()
        if recovered:
            log.info("storage.recovered")
            self.states.storage_fault("")

    def _on_fault(self, reason: str, *, writing: bool) -> None:
        """Tell what waits from memory; `writing`: the first entry is still with the storage thread."""
        with self._changed:
            if writing and not self._writing:  # it has answered after all, just now
                return
            self._writing = writing
            self._fault = reason
            self._retry_at_s = clock.now().monotonic_s + RETRY_S
            unsent = [entry.event for entry in self._waiting if entry.event is not None and not entry.sent]
            self._waiting = deque(replace(entry, proof=None, sent=entry.event is not None) for entry in self._waiting)
            self._changed.notify_all()
        self.states.storage_fault(reason)
        for event in unsent:
            self._send_from_memory(event)

    def _show(self, event: AlarmEvent) -> None:
        self.states.committed(event)
        ended_quietly = event.kind is EventKind.END and not event.raised
        log.warning(
            "condition.as_usual" if ended_quietly else _NAMES[event.kind],
            machine=event.machine,
            alarm_id=event.alarm_id,
            seq=event.seq,
            ratio=round(event.score / event.threshold, 2),
            stream_s=round(event.at_s, 1),
            reason=event.reason,
        )

    def _send_from_memory(self, event: AlarmEvent) -> None:
        self._show(event)
        for message in self.messages.told(event, persisted=False):
            self.plant.publish_volatile(**asdict(message))

    def _note_not_stored(self, entry: _Entry, reason: str) -> None:
        """Say at once that something is lost, here and to the plant."""
        log.error("alarm.not_stored", alarm_id=entry.alarm_id, reason=reason)
        self.plant.refresh_status()
