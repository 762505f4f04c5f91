"""How the daemon logs: pretty on a terminal, JSON lines otherwise. No part of the daemon waits for it."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
from contextlib import suppress
from typing import TextIO, cast

import structlog

# Lines that wait for a log nobody reads (Ctrl-S, a stopped pipe, a journal that hangs): some minutes of a bad day.
WAITING_LINES = 2000
_LAST_S = 1.0  # for what still waits when the daemon ends


class BoundedLog:
    """A stream written by a thread of its own: a line that finds no room is dropped, counted, and told of later.

    It writes to `descriptor`, and not through the interpreter's own streams, whose locks a write that hangs would hold.
    """

    def __init__(self, descriptor: int, lines: int = WAITING_LINES) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(lines)
        self._told = 0  # of the dropped lines
        self.dropped = 0
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> int:
        """Hand a line over; never waits."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: what must not wait does not flush."""

    def finish(self, seconds: float = _LAST_S) -> None:
        """Wait until all lines are written, at most so long."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, seconds)

    def _run(self) -> None:
        while True:
            text = self._lines.get()
            self._write(text)
            lost = self.dropped - self._told
            if lost:  # there is room again
                self._told += lost
                self._write(json.dumps({"event": "log.lines_dropped", "level": "warning", "lines": lost}) + "\n")
            self._lines.task_done()

    def _write(self, text: str) -> None:
        rest = text.encode("utf-8", "backslashreplace")
        with suppress(OSError):  # its reader may go away and its disk be full: a log line must never end a thread
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def configure(*, debug: bool = False) -> BoundedLog:
    """Send log events to standard error, from level INFO (or DEBUG) on; return what takes them there."""
    terminal = sys.stderr.isatty()
    stream = BoundedLog(sys.stderr.fileno())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    return stream
