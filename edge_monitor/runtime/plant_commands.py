"""What the plant asks of this node over MQTT: alarms inhibited or resumed, sound learnt. Nothing else is obeyed."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from edge_monitor import clock
from edge_monitor.deliver.compose import reply_payload
from edge_monitor.deliver.requests import (
    MAX_BYTES,
    InhibitRequest,
    LearnRequest,
    ResumeRequest,
    read_request,
    request_id_of,
)
from edge_monitor.errors import ConfigError, ControlError, EdgeMonitorError
from edge_monitor.node import generations, inhibition, live
from edge_monitor.runtime.supervision import SupervisedThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_monitor.deliver.requests import Request
    from edge_monitor.node.node import Node

Command = Literal["inhibit", "resume", "learn"]
Result = Literal["started", "done", "refused", "failed"]

log = structlog.get_logger()
BURST = 10  # requests that may come at once
REFILL_S = 6.0  # then one in this time; the others are dropped unanswered
_REMEMBERED = 256  # answers, so that a request that comes twice is obeyed once


@dataclass(eq=False)
class PlantCommands:
    """Obeys the allowed commands, one after the other; `reply(payload)` publishes an answer.

    Retained requests are ignored, expired and malformed ones refused; one that comes twice is obeyed once, and
    answered as before. Nothing is kept over a restart. What is being learnt ends once `stopping` is set.
    """

    node: Node
    allowed: Sequence[Command]
    reply: Callable[[bytes], None]
    stopping: threading.Event

    def __post_init__(self) -> None:
        """Make what is its own."""
        self._waiting: queue.SimpleQueue[tuple[Command, bytes] | None] = queue.SimpleQueue()
        self._tokens = float(BURST)
        self._refilled_s = clock.now().monotonic_s
        self._flooded = False  # requests are being dropped
        self._answers: OrderedDict[tuple[Command, str], bytes] = OrderedDict()
        self._learning: set[str] = set()
        self._lock = threading.Lock()
        self.thread = SupervisedThread("commands", self._work)

    def start(self) -> None:
        """Begin to obey, if anything is allowed."""
        if self.allowed:
            self.thread.start()

    def close(self) -> None:
        """Obey nothing any more."""
        self._waiting.put(None)
        self.thread.join(1.0)

    @property
    def learning(self) -> bool:
        """Return whether a machine is being enrolled because the plant asked for it."""
        return bool(self._learning)

    def take(self, command: Command, payload: bytes, retained: bool) -> None:
        """Take in a request, in the publisher's thread; returns at once."""
        if retained:
            log.warning("command.ignored", command=command, reason="retained")
        elif self._has_token() and self._waiting.qsize() < BURST:
            self._waiting.put((command, payload[: MAX_BYTES + 1]))

    def _has_token(self) -> bool:
        now_s = clock.now().monotonic_s
        self._tokens = min(self._tokens + (now_s - self._refilled_s) / REFILL_S, BURST)
        self._refilled_s = now_s
        granted = self._tokens >= 1
        if granted:
            self._tokens -= 1
        elif not self._flooded:
            log.warning(
                "command.ignored", reason=f"more than {BURST} at once, or one in {REFILL_S:g} s; so are the next"
            )
        self._flooded = not granted
        return granted

    # --- the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (asked := self._waiting.get()) is not None:
            self._obey(*asked)

    def _obey(self, command: Command, payload: bytes) -> None:
        request_id = request_id_of(payload)
        with self._lock:
            answered = self._answers.get((command, request_id or ""))
        if answered is not None:
            self.reply(answered)
            return
        result: Result
        try:
            request = read_request(command, payload, now_ms=clock.now().wall_ms)
            self.node.machine(request.machine)
        except (ControlError, ConfigError) as error:
            self._answer(command, request_id, "refused", error.message)
            return
        try:
            result, text = self._do(request)
        except (EdgeMonitorError, sqlite3.Error) as error:
            result, text = "failed", str(error)
        self._answer(command, request_id, result, f"{request.machine}: {text}")

    def _do(self, request: Request) -> tuple[Result, str]:
        match request:
            case InhibitRequest():
                wanted = inhibition.Inhibit(machine=request.machine, seconds=request.duration_s)
                return "done", f"no new alarm until {inhibition.inhibit(self.node, wanted).until}"
            case ResumeRequest():
                inhibition.inhibit(self.node, inhibition.Inhibit(machine=request.machine, seconds=0.0))
                return "done", "alarms are raised again"
            case LearnRequest():
                return self._begin_to_learn(request)
        raise ControlError("is not a command")

    def _begin_to_learn(self, request: LearnRequest) -> tuple[Result, str]:
        with self._lock:
            if request.machine in self._learning:
                return "refused", "is being learnt already"
            self._learning.add(request.machine)
        threading.Thread(target=self._learn, args=(request,), name="learn", daemon=True).start()
        return "started", f"the next {request.duration_s:g} s of sound are learnt as normal"

    def _learn(self, request: LearnRequest) -> None:
        """Learn; what was learnt until the node stops, or the sound fails, is taken out of use again."""
        result: Result = "failed"
        try:
            wanted = live.EnrollLive(
                machine=request.machine,
                minutes=request.duration_s / 60.0,
                bundle_hash=self.node.bundle.bundle_hash,
            )
            windows = 0
            for progress in live.enroll_live(self.node, wanted, self.stopping.is_set):
                windows = progress.windows
            next_one = generations.BuildGeneration(machine=request.machine, reason=f"command {request.request_id}")
            built = generations.build_next(self.node, next_one)
            result, text = "done", f"{windows} windows are learnt; generation {built.generation} is active"
        except (EdgeMonitorError, sqlite3.Error) as error:
            if self.stopping.is_set():
                return
            text = str(error)
        finally:
            with self._lock:
                self._learning.discard(request.machine)
        self._answer("learn", request.request_id, result, f"{request.machine}: {text}")

    def _answer(self, command: Command, request_id: str | None, result: Result, text: str) -> None:
        payload = reply_payload(
            self.node.settings.node,
            command=command,
            request_id=request_id,
            result=result,
            text=text,
            at_ms=clock.now().wall_ms,
            clock_synced=clock.synchronized(),
        ).encode()
        log.warning("command.answered", command=command, request_id=request_id, result=result, text=text[:200])
        if request_id is not None and result != "refused":
            with self._lock:
                self._answers[command, request_id] = payload
                while len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
        self.reply(payload)
