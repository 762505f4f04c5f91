"""One node's state, for whoever may change it: the daemon, or a command while no daemon runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from edge_monitor.alarm.state_machine import Restored
from edge_monitor.encode.bundle import Bundle, find_bundle
from edge_monitor.errors import ConfigError, ControlError
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.memory.scorers import SUB_BAND, scorer_name, sub_bands
from edge_monitor.service.briefing import Briefing
from edge_monitor.service.state_dir import StateDir
from edge_monitor.store.store import Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from edge_monitor.config import MachineSettings, Settings
    from edge_monitor.records import AudioBlock, AudioLoss
    from edge_monitor.service.pipeline import Heard

T = TypeVar("T")


class Node:
    """Settings, state directory and bundle of one node."""

    def __init__(self, settings: Settings, *, writes: bool = True) -> None:
        self.settings = settings
        self.state_dir = StateDir.of(settings.node)
        self.store = Store(self.state_dir.database, writes=writes)
        self.bundle: Bundle = find_bundle(settings.model.bundle, self.state_dir.path)
        if settings.model.scorer in SUB_BAND:  # said before anything is listened to
            sub_bands(self.bundle.manifest.audio.dim, self.bundle.manifest.scorer.bands)
        self.briefing = Briefing(self)

    def machine(self, name: str) -> MachineSettings:
        """Return the settings of a machine. Raises ConfigError when none has that name."""
        for machine in self.settings.machine:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self.settings.machine)
        raise ConfigError(f"no machine is named {name!r}", where="--machine", hint=f"the configuration has {known}")

    @property
    def window_s(self) -> float:
        """Return the bundle's window length, seconds."""
        return self.bundle.manifest.audio.window_s

    @property
    def metric(self) -> MetricSpec:
        """Return how the bundle's vectors are compared, by the configured scorer or else the bundle's own."""
        scoring, scorer = self.bundle.manifest.scoring, self.bundle.manifest.scorer
        name = self.settings.model.scorer or scorer.name
        return MetricSpec(scoring.metric, scoring.normalize, scoring.floor_of_each, scorer.bands, name)

    def another_scorer(self, machine: str, used: str | None) -> str:
        """Return one line when a machine's generation is scored with another scorer than the configured; else ''.

        A generation keeps its scorer, for its threshold is in that scorer's unit.
        """
        wanted = scorer_name(self.metric)
        if used in (None, wanted):
            return ""
        return (
            f"{machine}: scored with {used}, as its generation was built; the configuration now says {wanted}:"
            f" `edge-monitor generations build --machine {machine}` goes over to it"
        )

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a read-only connection for the body; see `Store.reading`."""
        with self.store.reading() as connection:
            yield connection

    def commit(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """Have the writer run `write` in a transaction of its own and return its result, once committed."""
        return self.store.commit(write)

    def generation_changed(self, machine: str) -> None:
        """Build the index of the generation that is active now; the daemon swaps it in as well."""
        with self.reading() as connection:
            load_scorer(connection, machine, self.state_dir.path)

    def hear(self, machine: str) -> Iterator[AudioBlock | AudioLoss | Heard]:
        """Yield what the machine's source gives and what becomes of it; the daemon taps its own stream instead."""
        from edge_monitor.capture.source import open_sources
        from edge_monitor.encode.encoder import Encoder
        from edge_monitor.service.pipeline import MachinePipeline, NotLearnt

        settings = self.machine(machine)
        encoder = Encoder(self.bundle, self.settings.model.threads)
        pipeline = MachinePipeline(
            settings, encoder, hop_s=self.settings.model.hop_s, learnt=NotLearnt(), restored=Restored(), new_id=str
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
        """Have the machine's windows enrolled instead of scored; without a daemon none is scored anyway."""

    def inhibit(self, machine: str, seconds: float) -> None:
        """Have the daemon raise no new alarm for `seconds` (0: again); without one the database says enough."""

    def reload(self) -> tuple[str, ...]:
        """Have the daemon load its configuration again; return the keys that changed.

        Raises ReloadError when it was refused, ControlError without a daemon.
        """
        raise ControlError("edge-monitor does not run here", hint="`edge-monitor run` starts it")

    def alarms_in_memory(self) -> int:
        """Return how many alarms wait for the disk; without a daemon none does."""
        return 0

    def outbox_changed(self) -> None:
        """Have the daemon look for messages to send; without one they wait for the next."""

    def status(self) -> dict[str, Any]:
        """Return what is known while no daemon runs."""
        return {
            "running": False,
            "bundle": self.bundle.name,
            "mqtt": None,
            "machines": [
                {"machine": machine.name, "state": "stopped", "text": "the daemon does not run"}
                for machine in self.settings.machine
            ],
        }
