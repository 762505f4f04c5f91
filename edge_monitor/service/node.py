"""One node's state, for whoever may change it: the daemon, or a command while no daemon runs."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from edge_monitor import database
from edge_monitor.alarm.state_machine import Restored
from edge_monitor.encode.bundle import Bundle, find_bundle
from edge_monitor.errors import ConfigError
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.service.briefing import Briefing
from edge_monitor.service.state_dir import StateDir

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from edge_monitor.config import MachineSettings, Settings
    from edge_monitor.records import AudioBlock, AudioLoss
    from edge_monitor.service.pipeline import Heard

T = TypeVar("T")


class Node:
    """Settings, state directory and bundle of one node."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state_dir = StateDir.of(settings.node)
        self.bundle: Bundle = find_bundle(settings.model.bundle, self.state_dir.path)
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
        """Return how the bundle's vectors are compared."""
        scoring = self.bundle.manifest.scoring
        given = scoring.standardization_floor
        if isinstance(given, tuple):
            each = tuple(block.floor for block in given for _ in range(block.dims))
            return MetricSpec(scoring.metric, scoring.normalize, each)
        return MetricSpec(scoring.metric, scoring.normalize, given or 0.0)

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """Open the database for the body; every caller has a connection of its own."""
        with closing(database.connect(self.state_dir.database)) as connection:
            yield connection

    def commit(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """Run `write` in a transaction of its own and return its result, once committed."""
        with self.database() as connection, database.transaction(connection):
            return write(connection)

    def generation_changed(self, machine: str) -> None:
        """Build the index of the generation that is active now; the daemon swaps it in as well."""
        with self.database() as connection:
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
