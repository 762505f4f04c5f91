"""The daemon as operations see it: what they may ask of its parts while it runs."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import ControlError
from edge_monitor.records import AudioLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_monitor.node.verdict import Verdict
    from edge_monitor.pipeline.machine_pipeline import MachinePipeline, WindowResult
    from edge_monitor.records import AudioBlock
    from edge_monitor.runtime.active_generations import ActiveGenerations
    from edge_monitor.runtime.daemon_status import DaemonStatus
    from edge_monitor.runtime.taps import Taps

_SILENCE_S = 0.5


@dataclass(eq=False)
class RunningDaemon:
    """`Running`, for the node of a daemon; every method may be called from any thread."""

    pipelines: Mapping[str, MachinePipeline]
    generations: ActiveGenerations
    taps: Taps
    stopping: threading.Event
    daemon_status: DaemonStatus
    in_memory: Callable[[], int]
    wake: Callable[[], None]
    load_again: Callable[[], tuple[str, ...]] | None  # None: nobody can do that
    _enrolling: threading.Lock = field(default_factory=threading.Lock, init=False)

    def generation_changed(self, machine: str) -> None:
        """Load the machine's active generation; the pipeline goes over to it between two blocks."""
        self.generations.changed(machine)

    def hear(self, machine: str) -> Iterator[AudioBlock | AudioLoss | WindowResult]:
        """Yield what the machine's pipeline takes in and what becomes of it, from now on.

        Raises ControlError when the daemon stops: whoever waits for the end of something has not got it.
        """
        with self.taps.open(machine) as tap:
            while not self.stopping.is_set():
                try:
                    yield tap.get(timeout=_SILENCE_S)
                except queue.Empty:
                    yield AudioLoss(machine, 0.0, "no sound comes from the source")
        raise ControlError("the daemon stops", where=machine, hint="begin again when it runs")

    def set_learning(self, machine: str, *, learning: bool) -> None:
        """Have the machine's windows enrolled (no alarm is raised meanwhile), or scored again.

        Raises ControlError when somebody else enrols it.
        """
        pipeline = self.pipelines[machine]
        with self._enrolling:
            if learning and pipeline.learning:
                hint = "wait for the other enrolment to end"
                raise ControlError("is being enrolled already", where=machine, hint=hint)
            pipeline.learning = learning

    def inhibit(self, machine: str, seconds: float) -> None:
        """Raise no new alarm of a machine for `seconds` of stream time; 0 ends that."""
        self.pipelines[machine].inhibit(seconds)

    def reload(self) -> tuple[str, ...]:
        """Have another daemon with the configuration of now take this one's place, as `Reloading.reload`.

        Raises ControlError where nobody can do that.
        """
        if self.load_again is None:
            raise ControlError("this daemon cannot be reloaded", hint="restart it")
        return self.load_again()

    def alarms_in_memory(self) -> int:
        """Return how many alarms wait for the disk."""
        return self.in_memory()

    def outbox_changed(self) -> None:
        """Have the publisher look for messages to send."""
        self.wake()

    def status(self) -> dict[str, Any]:
        """Return what the daemon does, as plain JSON types."""
        return self.daemon_status.read()

    def verdict(self, machine: str) -> Verdict:
        """Return whether the machine would be heard to fail, as it is just now."""
        return self.daemon_status.states.verdict(machine)
