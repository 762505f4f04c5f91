"""A thread whose work is begun anew when it dies, after a pause that doubles."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.store.store import Store

log = structlog.get_logger()
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
STABLE_S = 300.0  # work that went on for so long had recovered: the pauses begin anew


@dataclass(frozen=True, slots=True)
class ThreadHealth:
    """How a thread has fared since the start of the daemon."""

    name: str
    alive: bool
    restarts: int
    last_error: str | None  # one line; stays after the cause has gone


def storage(store: Store) -> ThreadHealth:
    """Return how the writer of the database fares, which survives whatever a write dies of."""
    return ThreadHealth("storage", store.alive, 0, None)


class SupervisedThread:
    """Runs `work` until it returns. When it raises instead, that is logged and `work` is called again.

    `work` owns what it goes on with; it must be able to begin anew after an exception from anywhere within.
    """

    def __init__(self, name: str, work: Callable[[], None], *, pause_s: float = FIRST_PAUSE_S) -> None:
        self._name = name
        self._work = work
        self._pause_s = pause_s
        self._restarts = 0
        self._last_error: str | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work; once."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Return whether the work goes on."""
        return self._thread.is_alive()

    @property
    def started(self) -> bool:
        """Return whether the thread was ever started."""
        return self._thread.ident is not None

    def health(self) -> ThreadHealth:
        """Return a snapshot."""
        return ThreadHealth(self._name, self.is_alive(), self._restarts, self._last_error)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the work to return, at most `timeout_s` seconds; work that dies meanwhile is not begun anew."""
        self._ending.set()
        if self.started:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = self._pause_s
        while True:
            began_s = clock.now().monotonic_s
            try:
                self._work()
            except Exception as error:  # whatever a thread dies of, its work is begun anew
                if clock.now().monotonic_s - began_s > STABLE_S:
                    pause_s = self._pause_s
                self._last_error = str(error).partition("\n")[0] or type(error).__name__
                log.exception("service.thread_died", thread=self._name, again_in_s=pause_s)
                if self._ending.wait(pause_s):
                    return
                self._restarts += 1
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                return


class PeriodicThread(SupervisedThread):
    """Calls `work` `first_s` seconds after its start, then every `every_s` seconds, until it is closed."""

    def __init__(self, name: str, work: Callable[[], None], *, first_s: float, every_s: float) -> None:
        self._periods_s = (first_s, every_s)
        self._called = work
        self._closing = threading.Event()
        super().__init__(name, self._call)

    def closing(self) -> bool:
        """Return whether the work is to end."""
        return self._closing.is_set()

    def close(self) -> None:
        """Let the thread end."""
        self._closing.set()
        self.join(1.0)

    def _call(self) -> None:
        wait_s, every_s = self._periods_s
        while not self._closing.wait(wait_s):
            wait_s = every_s
            self._called()
