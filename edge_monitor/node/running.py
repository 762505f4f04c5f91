"""What an operation may ask of the daemon that it runs in; and what it gets where none runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edge_monitor.alarm.state_machine import Restored
from edge_monitor.errors import ControlError
from edge_monitor.memory.generations import active_generation
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.verdict import facts_of, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.node.verdict import Verdict
    from edge_monitor.pipeline.machine_pipeline import WindowResult
    from edge_monitor.records import AudioBlock, AudioLoss
    from edge_monitor.store.store import Store


class Running(Protocol):
    """The daemon, as operations see it. Thread-safe."""

    def generation_changed(self, machine: str) -> None:
        """Score with the generation that is active now."""

    def hear(self, machine: str) -> Iterator[AudioBlock | AudioLoss | WindowResult]:
        """Yield what the machine's pipeline takes in and what becomes of it, from now on."""

    def set_learning(self, machine: str, *, learning: bool) -> None:
        """Have the machine's windows enrolled (no alarm is raised meanwhile), or scored again.

        Raises ControlError when somebody else enrols it.
        """

    def inhibit(self, machine: str, seconds: float) -> None:
        """Raise no new alarm of a machine for `seconds` of stream time; 0 ends that."""

    def reload(self) -> tuple[str, ...]:
        """Have the configuration loaded again; return the keys that changed.

        Raises ReloadError when it was refused, ControlError where no daemon runs.
        """

    def alarms_in_memory(self) -> int:
        """Return how many alarms wait for the disk."""

    def outbox_changed(self) -> None:
        """Look for messages to send."""

    def status(self) -> dict[str, Any]:
        """Return what the daemon does, as plain JSON types."""

    def verdict(self, machine: str) -> Verdict:
        """Return whether the machine would be heard to fail."""


class NotRunning:
    """Stands in for the daemon in a command: what it would do at once is done by the next one, or by the command."""

    def __init__(self, settings: Settings, bundle: Callable[[], Bundle], store: Store, state_dir: Path) -> None:
        self._settings = settings
        self._bundle = bundle
        self._store = store
        self._state_dir = state_dir

    def generation_changed(self, machine: str) -> None:
        """Build the index of the generation that is active now."""
        with self._store.reading() as connection:
            load_scorer(connection, machine, self._state_dir)

    def hear(self, machine: str) -> Iterator[AudioBlock | AudioLoss | WindowResult]:
        """Yield what the machine's source gives and what becomes of it."""
        from edge_monitor.capture.source import open_sources
        from edge_monitor.encode.encoder import Encoder
        from edge_monitor.pipeline.machine_pipeline import MachinePipeline, NotLearnt

        settings = self._settings.named(machine)
        model = self._settings.model
        pipeline = MachinePipeline(
            settings,
            Encoder(self._bundle(), model.threads),
            hop_s=model.hop_s,
            learnt=NotLearnt(),
            restored=Restored(),
            new_id=str,
        )
        pipeline.learning = True
        source = open_sources([settings])[0]
        try:
            for item in source.items():
                yield item
                yield from pipeline.process(item, lambda: 0)
        finally:
            source.close()

    def set_learning(self, machine: str, *, learning: bool) -> None:
        """Do nothing: no window is scored anyway."""

    def inhibit(self, machine: str, seconds: float) -> None:
        """Do nothing: the database says enough."""

    def reload(self) -> tuple[str, ...]:
        """Raise ControlError."""
        raise ControlError("edge-monitor does not run here", hint="`edge-monitor run` starts it")

    def alarms_in_memory(self) -> int:
        """Return 0."""
        return 0

    def outbox_changed(self) -> None:
        """Do nothing: the messages wait for the next daemon."""

    def status(self) -> dict[str, Any]:
        """Return what is known."""
        return {
            "running": False,
            "bundle": self._bundle().name,
            "mqtt": None,
            "machines": [
                {"machine": machine.name, "state": "stopped", "text": "the daemon does not run"}
                for machine in self._settings.machine
            ],
        }

    def verdict(self, machine: str) -> Verdict:
        """Return whether the machine would be heard to fail, by what was learnt of it."""
        with self._store.reading() as connection:
            generation = active_generation(connection, machine)
            return judge(facts_of(connection, self._settings.named(machine), generation))
