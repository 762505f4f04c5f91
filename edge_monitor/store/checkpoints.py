"""The checkpointing thread: carries the log over into the database, beside the writer and never in its way."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.store import database
from edge_monitor.store.log_file import PAGE_BYTES, LogIndex, LogState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger()
_LOOK_S = 0.25
_PAUSE_S = 5.0
_MB_FRAMES = 1024 * 1024 // PAGE_BYTES
# Less is left in the log. The first commit of a log that begins anew takes two fsyncs: that is to happen seldom, but on
# a small or full disk the log's room is needed for alarms.
_WORTH_FRAMES, _WORTH_FRAMES_SMALL, _SMALL_BYTES = 8 * _MB_FRAMES, _MB_FRAMES, 256 * 1024 * 1024
ROOM_FRAMES = 12 * _MB_FRAMES  # long work waits while more than this is open
TIGHT_FRAMES = 24 * _MB_FRAMES  # readers of whom the log is waiting are ended
MOST_FRAMES = 48 * _MB_FRAMES  # the writer waits for a checkpoint; the bound is 64 MB
LONGEST_BYTES = (MOST_FRAMES + 4 * _MB_FRAMES) * (PAGE_BYTES + 24)  # then whoever reads on is ended
_GROWN_FRAMES = 4 * _MB_FRAMES
_READER_S = 10.0  # who reads for longer while the log grows is ended


class Checkpoints:
    """Makes PASSIVE checkpoints when they are worth it, on a connection that does nothing else."""

    def __init__(self, path: Path, end_readers: Callable[[float], int]) -> None:
        self.on_emptied: Callable[[], None] = lambda: None  # called when all of the log has been carried over
        self._path = path
        self._end_readers = end_readers
        self._index = LogIndex(path)
        self._waited_frames = 0  # how long the log was when long work last waited for it to begin anew
        self._working = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    @property
    def state(self) -> LogState:
        """Return the state of the log."""
        return self._index.state()

    def now(self) -> LogState:
        """Carry over what can be, in the caller's thread; return what is left. Failures wait for the next time."""
        with self._working:
            try:  # the connection is never there when nothing is to be done: closing it leaves the log alone
                with closing(database.unprepared(self._path, "rw", timeout_s=0.0)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:  # a full or failing disk: whoever writes is told of it
                log.warning("storage.checkpoint_failed", error=str(error))
            return self.state

    def wait_for_room(self, give_up: Callable[[], bool]) -> None:
        """Wait until long work may write on: the log is to be carried over as fast as it grows.

        A long one begins anew once all of it is carried over, if nobody writes just then: for that it waits a while,
        and again when it has grown. On a slow disk somebody always writes.
        """
        if self.state.frames < self._waited_frames:
            self._waited_frames = 0
        end_s = clock.now().monotonic_s + _PAUSE_S
        while not (give_up() or self._stop.is_set()):
            state = self.state
            long = state.frames > max(TIGHT_FRAMES, self._waited_frames + _GROWN_FRAMES) and state.open_frames > 0
            if long and clock.now().monotonic_s >= end_s:
                self._waited_frames, long = state.frames, False
            if state.open_frames <= ROOM_FRAMES and not long:
                return
            self._stop.wait(_LOOK_S / 10)

    def keep_within_bound(self) -> None:
        """Have the log carried over now if it is about to pass its bound; in the writer's thread, before it writes."""
        state = self.state
        if state.frames < MOST_FRAMES:
            return
        self._end_readers(0.0 if state.frames > MOST_FRAMES + 2 * _MB_FRAMES else _READER_S)
        if state.open_frames:
            log.warning("storage.log_long", mb=round(state.frames * PAGE_BYTES / 1e6))
            self.now()

    def paused(self) -> threading.Lock:
        """Return the lock that keeps the connection away while it is held: for a swap of the file."""
        return self._working

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """Let go of the log's index, once all connections are closed."""
        self._index.close()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - without this thread the log would grow until the disk is full
                log.error("storage.checkpoint_failed", error=str(error))

    def _look(self) -> None:
        state = self.state
        if state.open_frames >= (1 if state.frames > TIGHT_FRAMES else self._worth_frames()):
            state = self.now()
            if not state.open_frames:
                self.on_emptied()
        if state.frames >= TIGHT_FRAMES:  # what is read holds the log: it cannot begin anew
            self._end_readers(_READER_S)

    def _worth_frames(self) -> int:
        """Return from how many open frames on a checkpoint is made."""
        try:
            free_bytes = shutil.disk_usage(self._path.parent).free
        except OSError:
            return _WORTH_FRAMES_SMALL
        return _WORTH_FRAMES if free_bytes > _SMALL_BYTES else _WORTH_FRAMES_SMALL
