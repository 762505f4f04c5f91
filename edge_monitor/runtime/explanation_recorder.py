"""Where an explanation becomes durable: its row is finished and its message queued in one commit."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.explain import jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.records import Explanation
    from edge_monitor.runtime.plant_messages import PlantMessages
    from edge_monitor.store.store import Store

log = structlog.get_logger()
RETRY_S = 5.0  # while the disk fails


@dataclass(eq=False)
class ExplanationRecorder:
    """Commits explanations, for any thread; `on_queued` is called when there is something to send.

    `ok` and `unavailable` count what became of them since the start.
    """

    store: Store
    messages: PlantMessages
    stopping: threading.Event
    on_queued: Callable[[], None]
    ok: int = field(default=0, init=False)
    unavailable: int = field(default=0, init=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False)

    def record(self, explanation: Explanation, *, acoustics: str | None = None) -> bool:
        """Commit an explanation with its message; while the disk fails, try again until it does not.

        Returns False when it was recorded before, or the daemon stops first. The bytes of the message are made once.
        """
        at_ms = clock.now().wall_ms
        message = self.messages.explanation(explanation, at_ms)

        def write(connection: sqlite3.Connection) -> bool:
            if not jobs.finish(connection, explanation, at_ms=at_ms, acoustics=acoustics):
                return False
            self.messages.queue(connection, message)
            return True

        while True:
            try:
                recorded = self.store.commit(write)
            except sqlite3.OperationalError:  # the storage thread has logged it
                if self.stopping.wait(RETRY_S):
                    return False
            else:
                break
        if recorded:
            with self._counting:
                self.ok += explanation.text is not None
                self.unavailable += explanation.text is None
            log.info(
                "explain.told",
                machine=explanation.machine,
                alarm_id=explanation.alarm_id,
                method=explanation.method,
                text=explanation.text,
                reason=explanation.reason,
            )
            self.on_queued()
        return recorded
