"""How the daemon logs: pretty on a terminal, JSON lines otherwise."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


class _Unbreakable:
    """A stream whose reader may go away and whose disk may be full: a log line must never end a thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or not."""
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Flush, or not."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(*, debug: bool = False) -> None:
    """Send log events to standard error, from level INFO (or DEBUG) on."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Unbreakable(sys.stderr))),
        cache_logger_on_first_use=True,
    )
