"""The queue between the sources and the pipeline: live sound is never held back, recordings are."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from edge_monitor.records import AudioBlock, AudioLoss
from edge_monitor.runtime.supervision import SupervisedThread

if TYPE_CHECKING:
    from edge_monitor.capture.source import Source
    from edge_monitor.runtime.supervision import ThreadHealth

    Item = AudioBlock | AudioLoss

log = structlog.get_logger()
HELD_S = 10.0  # of one machine's sound: a stall that long is a fault, not jitter
CAUGHT_UP_S = 0.2  # of a machine's live sound that waits: a block that has just come, and a window being judged


class AudioQueue:
    """A bounded queue of audio. When live sound overruns it, the oldest block of that machine goes, counted."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._waiting_s: defaultdict[str, float] = defaultdict(float)
        self._missing_frames: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._reached_s: dict[str, float] = {}  # stream time, seconds
        self._open_sources = 0
        self._live_threads: list[SupervisedThread] = []
        self.live: frozenset[str] = frozenset()  # machines whose sound comes as it is made and cannot be held back
        self._closed = False
        self.dropped_frames = 0  # by this queue, and by the sources before it
        self.failure: Exception | None = None  # what ended a recording before its end

    def follow(self, source: Source) -> None:
        """Start a thread that puts everything `source` has to give; one that dies of live sound begins anew."""
        thread = SupervisedThread(f"source-{source.machines[0]}", lambda: self._follow(source))
        with self._changed:
            self._open_sources += 1
            if source.live:
                self._live_threads.append(thread)
                self.live |= frozenset(source.machines)
        thread.start()

    def threads(self) -> list[ThreadHealth]:
        """Return how the threads that bring live sound fare."""
        return [thread.health() for thread in self._live_threads]

    def _follow(self, source: Source) -> None:
        ended = "its recording has ended"
        try:
            for item in source.items():
                self._put(item, live=source.live)
                self._reached_s[item.machine] = item.end_s if isinstance(item, AudioBlock) else item.at_s
                if self._closed:
                    break
        except Exception as error:  # whatever a source dies of, its machine must not stay `normal`
            if source.live:
                self._tell_lost(source, str(error))
                raise
            log.error("capture.source_failed", machines=source.machines, error=str(error))
            self.failure, ended = error, str(error)
        source.close()
        with self._changed:
            self._open_sources -= 1
            others = self._open_sources
            self._changed.notify_all()
        if others:  # they go on: say what has become of these machines
            self._tell_lost(source, ended)

    def _tell_lost(self, source: Source, reason: str) -> None:
        with self._changed:
            if not self._closed:
                self._items.extend(AudioLoss(each, self._reached_s.get(each, 0.0), reason) for each in source.machines)
            self._changed.notify_all()

    def behind_s(self, machine: str) -> float:
        """Return how much of a machine's live sound waits, seconds; 0.0 for a recording, which is held back."""
        with self._changed:
            return self._waiting_s[machine] if machine in self.live else 0.0

    def caught_up(self) -> bool:
        """Return whether no live sound has to wait."""
        return all(self.behind_s(machine) < CAUGHT_UP_S for machine in self.live)

    def _put(self, item: Item, *, live: bool) -> None:
        with self._changed:
            if live:
                if self._waiting_s[item.machine] >= HELD_S:
                    self._drop_oldest(item.machine)
            else:
                self._changed.wait_for(lambda: self._waiting_s[item.machine] < HELD_S or self._closed)
            if isinstance(item, AudioBlock):
                self.dropped_frames += item.dropped_frames
            self._items.append(item)
            self._waiting_s[item.machine] += _seconds(item)
            self._changed.notify_all()

    def _drop_oldest(self, machine: str) -> None:
        for position, item in enumerate(self._items):
            if item.machine == machine and isinstance(item, AudioBlock):
                del self._items[position]
                self._waiting_s[machine] -= _seconds(item)
                self._missing_frames[machine] += len(item.samples) + item.dropped_frames
                self.dropped_frames += len(item.samples)
                return

    def get(self, timeout_s: float) -> Item | None:
        """Return the next item; None after `timeout_s` seconds without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed or not self._open_sources, timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._waiting_s[item.machine] -= _seconds(item)
            self._changed.notify_all()
            missing = self._missing_frames.pop(item.machine, 0)
        if missing and isinstance(item, AudioBlock):
            return replace(item, gap=True, dropped_frames=item.dropped_frames + missing)
        return item

    @property
    def closed(self) -> bool:
        """Return whether it was closed."""
        return self._closed

    @property
    def exhausted(self) -> bool:
        """Return True when every source has ended and everything they gave was taken."""
        with self._changed:
            return not self._open_sources and not self._items

    def close(self) -> None:
        """Let go of whoever waits; the sources' threads end with their next item."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _seconds(item: Item) -> float:
    return len(item.samples) / item.rate_hz if isinstance(item, AudioBlock) else 0.0
