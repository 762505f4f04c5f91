"""A child process that ends when its user does, whatever ends that."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_S = 120.0  # for a daemon that has much to write


@contextmanager
def child(argv: Sequence[str], output: IO[bytes] | int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the body, both its streams to `output`; terminate it after the body if it still runs.

    It is in a process group of its own: Ctrl-C reaches the demo alone, which ends its children in order.
    """
    process: subprocess.Popen[bytes] | None = None
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    try:
        with _signals_later():
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=environment, process_group=0)
        yield process
    finally:
        if process is not None:
            process.terminate()
            process.wait(_PATIENCE_S)
            if process.stdout:
                process.stdout.close()


@contextmanager
def _signals_later() -> Iterator[None]:
    """Let what would end this process come after the body: a child that nobody knows yet would live on."""
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    handled = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handled:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)
