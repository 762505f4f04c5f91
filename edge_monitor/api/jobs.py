"""Long operations under way: each in a thread of its own, for as long as somebody asks for it."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog

from edge_monitor import clock
from edge_monitor.api.messages import JobState, Problem
from edge_monitor.errors import ControlError, EdgeMonitorError
from edge_monitor.node.operation import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import LongOperation, Message

log = structlog.get_logger()
MOST_JOBS = 8
LEASE_S = 10.0  # without a poll for so long nobody is there any more
MOST_DETACHED_S = 86_400.0
_KEPT_S = 60.0  # an ended job's answer can be asked for
_MOST_PROGRESS = 1000  # a slow listener misses the oldest


class Job:
    """One run of a long operation. Thread-safe."""

    def __init__(self, operation: LongOperation[Any, Any, Any], detached_s: float | None) -> None:
        self.id = secrets.token_hex(16)
        self.operation = operation
        self.ended_s: float | None = None  # monotonic, seconds
        self._changed = threading.Lock()
        self._listeners: list[Callable[[], object]] = []
        self._progress: deque[dict[str, Any]] = deque(maxlen=_MOST_PROGRESS)
        self._count = 0  # of progress so far
        self._answer: dict[str, Any] | None = None
        self._error: Problem | None = None
        self.thread: threading.Thread | None = None
        self._cancelled = False
        self._detached = detached_s is not None
        self._until_s = clock.now().monotonic_s + (LEASE_S if detached_s is None else min(detached_s, MOST_DETACHED_S))

    def cancelled(self) -> bool:
        """Return whether nobody waits for it any more."""
        return self._cancelled or clock.now().monotonic_s > self._until_s

    def cancel(self) -> None:
        """Have it end soon."""
        self._cancelled = True

    def run(self, node: Node, request: Message) -> None:
        """Run the operation to its end, in the calling thread."""
        steps = self.operation.run(node, request, self.cancelled)
        try:
            while not self.cancelled():
                self._add(next(steps))
            steps.close()  # before anybody is told: whoever begins anew finds nothing half done
            self._end(error=Problem(message=f"{self.operation.name} was cancelled"))
        except StopIteration as end:
            self._end(answer=end.value.model_dump(mode="json", exclude_unset=True))
        except EdgeMonitorError as error:
            self._end(error=Problem.of(error))
        except sqlite3.Error as error:
            self._end(error=Problem.of_database(error))
        except Exception as error:  # it costs its asker an answer, not the daemon its life
            log.exception("api.operation_failed", operation=self.operation.name)
            self._end(error=Problem(message=f"the daemon failed: {error!r}", hint="its log says more"))
        finally:
            steps.close()

    def state(self, after: int) -> JobState:
        """Return what has happened since progress number `after`, and renew the lease."""
        with self._changed:
            if not self._detached:
                self._until_s = clock.now().monotonic_s + LEASE_S
            first = self._count - len(self._progress)
            new = [each for number, each in enumerate(self._progress, first) if number >= after]
            return JobState(
                progress=new, next=self._count, ended=self.ended_s is not None, answer=self._answer, error=self._error
            )

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have `listener` called at the next change, from another thread; return what undoes that."""
        with self._changed:
            self._listeners.append(listener)

        def undo() -> None:
            with self._changed:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return undo

    def _add(self, progress: Message) -> None:
        with self._changed:
            self._progress.append(progress.model_dump(mode="json", exclude_unset=True))
            self._count += 1
        self.answer_polls()

    def _end(self, *, answer: dict[str, Any] | None = None, error: Problem | None = None) -> None:
        with self._changed:
            self._answer, self._error = answer, error
            self.ended_s = clock.now().monotonic_s
        self.answer_polls()

    def answer_polls(self) -> None:
        """Have whoever waits for news be answered, also without any: the server closes."""
        with self._changed:
            listeners, self._listeners = self._listeners, []
        for each in listeners:
            each()


class Jobs:
    """The jobs of this process: one that reloads the daemon outlives it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def start(
        self, node: Node, operation: LongOperation[Any, Any, Any], request: Message, detached_s: float | None = None
    ) -> str:
        """Begin an operation; return the job's id. Raises ControlError when too many are under way."""
        with self._lock:
            old_s = clock.now().monotonic_s - _KEPT_S
            self._jobs = {key: job for key, job in self._jobs.items() if job.ended_s is None or job.ended_s > old_s}
            if sum(job.ended_s is None for job in self._jobs.values()) >= MOST_JOBS:
                raise ControlError("too many long operations are under way", hint="wait for one of them to end")
            job = Job(operation, detached_s)
            self._jobs[job.id] = job
        job.thread = threading.Thread(target=job.run, args=(node, request), name=f"job-{operation.name}", daemon=True)
        job.thread.start()
        return job.id

    def find(self, job_id: str) -> Job:
        """Return a job. Raises ControlError when there is none of that id (any more)."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise ControlError("no such operation is under way", where=job_id[:64])
        return job

    def changing(self) -> tuple[str, ...]:
        """Return the names of those under way that change the node; a reload is none."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.ended_s is None]
        return tuple(
            job.operation.name
            for job in jobs
            if job.operation.role is not Role.LOOK and not job.operation.outlives_daemon
        )

    def end_all(self, timeout_s: float) -> None:
        """Have all end, and wait for those that change the node: they undo what is half done.

        One that reloads the daemon goes on.
        """
        with self._lock:
            known = list(self._jobs.values())
        jobs = [job for job in known if job.ended_s is None and not job.operation.outlives_daemon]
        for job in known:
            job.answer_polls()
        for job in jobs:
            job.cancel()
        end_s = clock.now().monotonic_s + timeout_s
        for job in jobs:
            if job.thread is not None:
                job.thread.join(max(0.0, end_s - clock.now().monotonic_s))
