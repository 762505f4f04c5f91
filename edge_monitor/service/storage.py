"""The storage thread: commits, one after the other, so that a slow disk stalls nobody else."""

from __future__ import annotations

import queue
import sqlite3
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

import structlog

from edge_monitor import database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
log = structlog.get_logger()


class StorageThread:
    """Runs each submitted write in a transaction of its own, in order of submission."""

    def __init__(self, path: Path) -> None:
        self._connection = database.connect(path)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self.is_alive = self._thread.is_alive
        self._thread.start()

    def submit(self, write: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Queue `write`; the future ends with its result once committed, or with its error and nothing written."""
        future: Future[T] = Future()

        def job() -> None:
            try:
                with database.transaction(self._connection):
                    result = write(self._connection)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits; the thread must go on
                future.set_exception(error)
                if isinstance(error, sqlite3.Error):
                    log.error("storage.commit_failed", error=str(error))
            else:
                future.set_result(result)

        self._jobs.put(job)
        return future

    def close(self) -> None:
        """Commit what is queued, then close the database."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # what was told of a commit failed, not the commit: the next one must not wait for ever
                log.exception("storage.callback_failed")
