"""The wording worker: has an LLM word what was measured and what the bundle found, whenever it can."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.encode.session import trim_memory
from edge_monitor.errors import BudgetSpentError, EdgeMonitorError, ExplainError, LlmError, UselessAnswerError
from edge_monitor.explain import jobs
from edge_monitor.explain.answer import Answer
from edge_monitor.explain.breaker import CircuitBreaker
from edge_monitor.explain.llm import LlmClient
from edge_monitor.explain.prompts import PROMPT_VERSION
from edge_monitor.explain.wording import word
from edge_monitor.memory.normals import Normals
from edge_monitor.records import Embedding, Explanation
from edge_monitor.runtime.supervision import SupervisedThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import ExplainSettings
    from edge_monitor.explain.jobs import Job
    from edge_monitor.explain.llm import Message
    from edge_monitor.node.prompt_maker import Prompt, PromptMaker
    from edge_monitor.runtime.explanation_recorder import ExplanationRecorder
    from edge_monitor.store.store import Store

log = structlog.get_logger()
LOOK_S = 60.0  # how often waiting jobs are looked at: they expire, the budget's day ends, the server comes back
MOST_UNANSWERED = 2  # requests whose answers a stop of the node lost: each may have been paid for
_CLOSING_S = 0.2
_HOUR_S = 3600.0


class _Interrupted(Exception):  # noqa: N818 - no error: the node stops, or the LLM's server is left in peace
    """An attempt ends early; the job waits."""


@dataclass(eq=False)
class WordingWorker:
    """Takes the jobs that wait, oldest first, one at a time. What cannot be worded now waits in its row.

    Jobs expire by `believed_ms`, milliseconds since 1970-01-01 UTC; none is begun once `stopping` is set.
    """

    settings: ExplainSettings
    store: Store
    machines: Mapping[str, MachineSettings]
    prompts: PromptMaker
    recorder: ExplanationRecorder
    believed_ms: Callable[[], int]
    stopping: threading.Event

    def __post_init__(self) -> None:
        """Make what is its own."""
        self._client = LlmClient(self.settings)
        self._breaker = CircuitBreaker()
        self._troubles: dict[str, str] = {}  # what the last attempt of a waiting alarm ended with
        self.waiting = 0  # jobs, as of the last look
        self._made_s: dict[str, float] = {}  # monotonic time at which a waiting alarm's job was made, seconds
        self._changed = threading.Condition()
        self._woken = True  # there may be jobs of the last run
        self._busy = self._closing = False
        self.thread = SupervisedThread("wording", self._run)

    def wake(self) -> None:
        """Say that there may be something to word."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Return whether every job that waits has been tried for now."""
        with self._changed:
            return not (self._woken or self._busy)

    def close(self) -> None:
        """Let the thread end; a caption or a request is not waited for, its job goes on with the next run."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.thread.join(_CLOSING_S)

    def _run(self) -> None:
        wait_s: float | None = None
        while True:
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: self._woken or self._closing, wait_s)
                if self._closing:
                    return
                self._woken, self._busy = False, True
            try:
                wait_s = self._round()
            except Exception as error:  # noqa: BLE001 - whatever it is, the jobs still wait
                log.error("explain.round_failed", error=str(error))
                wait_s = LOOK_S

    def _round(self) -> float | None:
        """Try every job once; return after how many seconds to look again, None when nothing waits."""
        with self.store.reading() as connection:
            unmeasured = {job.alarm_id for job in jobs.waiting(connection, worded=False)}
            waiting = jobs.waiting(connection, worded=True)
        self.waiting = len(waiting)
        left = False
        for job in waiting:
            if self._closing or self.stopping.is_set():
                break
            if job.alarm_id in unmeasured:
                continue  # `wake` says when it is its turn
            try:
                left |= not self._try(job)
            except _Interrupted:
                left = True
            except sqlite3.Error:
                raise
            except Exception as error:  # one job that fails must not cost the next ones
                log.exception("explain.wording_failed", alarm_id=job.alarm_id)
                self._end(job, f"wording failed: {error}")
        if not left:
            return None
        return min(max(self._breaker.rest_s(clock.now().monotonic_s), 1.0), LOOK_S)

    def _try(self, job: Job) -> bool:
        """Do a job if that is possible now; return whether it is done."""
        hopeless = self._hopeless(job)
        if hopeless:
            self._end(job, hopeless)
            return True
        if self._breaker.rest_s(clock.now().monotonic_s) > 0 or self._day_is_spent():
            return False
        try:
            prompt = self._prompt(job)
        except EdgeMonitorError as error:
            self._end(job, str(error))
            return True
        return self._word(job, prompt)

    def _hopeless(self, job: Job) -> str:
        """Return why a job need not be tried any more, or an empty text."""
        if job.machine not in self.machines:
            return "the machine is no longer in the configuration"
        last = f"; last: {trouble}" if (trouble := self._troubles.get(job.alarm_id)) else ""
        if self._age_s(job) > self.settings.expire_h * _HOUR_S:
            return f"expired: no answer within {self.settings.expire_h:g} h{last}"
        if self.settings.llm == "off":
            return 'no LLM is configured any more: explain.llm = "off"'
        if job.unanswered >= MOST_UNANSWERED:
            return "the node stopped twice while the LLM was asked"
        if job.spent >= self.settings.requests_per_alarm:
            by_hand = f" and {job.spent - job.requests} by hand" if job.spent > job.requests else ""
            return f"no answer to {job.requests} requests{by_hand}, which is the limit for one alarm{last}"
        return ""

    def _age_s(self, job: Job) -> float:
        """Return how long a job has waited, seconds; from its first sight on no step of the wall clock counts."""
        now_s = clock.now().monotonic_s
        if job.alarm_id not in self._made_s:
            known = job.created_ms >= clock.FIRST_CREDIBLE_MS  # else a job of 1970 tells no age
            age_ms = self.believed_ms() - job.created_ms if known else 0
            self._made_s[job.alarm_id] = now_s - max(age_ms, 0) / 1000
        return now_s - self._made_s[job.alarm_id]

    def _done(self, job: Job) -> None:
        self._troubles.pop(job.alarm_id, None)
        self._made_s.pop(job.alarm_id, None)
        self.waiting -= 1

    def _day_is_spent(self) -> bool:
        with self.store.reading() as connection:
            return jobs.requests_on(connection, _today()) >= self.settings.requests_per_day

    def _prompt(self, job: Job) -> Prompt:
        with self.store.reading() as connection:
            alarm = history.find(connection, job.alarm_id)
            anomaly = history.raising_window(connection, job.alarm_id)
            ids = [neighbour.normal_id for neighbour in alarm.neighbours]
            vectors = Normals(connection, job.machine).vectors(ids)  # (k, dim)
            known = {each.method: each for each in jobs.of_alarm(connection, job.alarm_id)}
        if anomaly is None:
            raise ExplainError("the window that raised the alarm was not kept", where=job.alarm_id)
        normals = [Embedding(vector, anomaly.bundle_hash) for vector in vectors]
        measured = known.get(jobs.MEASURED)
        difference = None if measured is None or measured.text is None else (measured.text, measured.findings)
        return self.prompts.prompt(job.method, self.machines[job.machine], anomaly, normals, difference)

    def _word(self, job: Job, prompt: Prompt) -> bool:
        """Ask the LLM within its deadline; return whether the job is done."""
        try:
            self._client.load()
            day = _today()
            answer = word(
                self._ask,
                prompt.text,
                debit=lambda: self._debit(job, day),
                deadline_s=self.settings.deadline_s,
                sleep=self._sleep,
                clock=lambda: clock.now().monotonic_s,
                came_back=lambda text: self.store.commit(lambda to: jobs.came_back(to, job, draft=text)),
                give_back=lambda: self.store.commit(lambda to: jobs.give_back(to, job, day)),
                draft=job.draft,
            )
        except BudgetSpentError:
            return self._end_if_spent(job)  # the day's: it waits
        except LlmError as error:
            if not error.retryable:
                self._end(job, str(error))
                return True
            log.warning("explain.llm_failed", alarm_id=job.alarm_id, reason=error.message)
            self._troubles[job.alarm_id] = error.message
            return self._end_if_spent(job)
        finally:
            trim_memory()  # the package, its TLS context and the answer took some for a moment
        self._record(job, answer, prompt.caption)
        return True

    def _end_if_spent(self, job: Job) -> bool:
        """End a job whose last attempt has used up what it may cost; return whether it is done."""
        with self.store.reading() as connection:
            now = jobs.find(connection, job.alarm_id, job.method)
        hopeless = "" if now is None else self._hopeless(now)
        if now is not None and hopeless:
            self._end(now, hopeless)
        return now is None or bool(hopeless)

    def _ask(self, messages: Sequence[Message], timeout_s: float) -> str:
        """Send one request, and keep count of what becomes of them."""
        try:
            text = self._client.ask(messages, timeout_s)
        except UselessAnswerError:
            self._breaker.succeeded()  # its server is there
            raise
        except LlmError as error:
            if error.retryable:
                self._breaker.failed(clock.now().monotonic_s, error.after_s)
            raise
        self._breaker.succeeded()
        return text

    def _debit(self, job: Job, day: str) -> None:
        """Count a request before it is sent. Raises BudgetSpentError when the alarm or the day has no more."""
        limits = self.settings

        def write(connection: sqlite3.Connection) -> None:
            now = jobs.find(connection, job.alarm_id, job.method)
            if now is None or now.spent >= limits.requests_per_alarm:
                raise BudgetSpentError("no more requests for this alarm", where=job.alarm_id)
            if jobs.requests_on(connection, day) >= limits.requests_per_day:
                raise BudgetSpentError("no more requests on this day", where=day)
            jobs.debit(connection, job, day)

        self.store.commit(write)

    def _sleep(self, seconds: float) -> None:
        """Wait between two requests, unless the node stops or the server is to be left in peace for longer."""
        if self._breaker.rest_s(clock.now().monotonic_s) > seconds or self.stopping.wait(seconds):
            raise _Interrupted

    def _end(self, job: Job, reason: str) -> None:
        """End a job that cannot be done, or not any more; an answer in the wrong form is better than none."""
        if job.draft is not None:
            self._record(job, Answer(job.draft, format_ok=False), None)
            return
        self.recorder.record(jobs.unavailable(job, reason))
        self._done(job)

    def _record(self, job: Job, answer: Answer, caption: str | None) -> None:
        explanation = Explanation(
            alarm_id=job.alarm_id,
            machine=job.machine,
            seq=job.seq,
            method=job.method,
            generation=job.generation,
            text=answer.text,
            caption=caption,
            model=self.settings.model,
            prompt_version=PROMPT_VERSION,
            format_ok=answer.format_ok,
            latency_s=self._age_s(job),
        )
        self.recorder.record(explanation)
        self._done(job)


def _today() -> str:
    return clock.rfc3339(clock.now().wall_ms)[:10]
