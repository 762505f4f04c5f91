"""One node's state, for whoever may change it: the daemon, or a command while no daemon runs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import SUB_BAND, method_name, sub_bands
from edge_monitor.node.files import Files
from edge_monitor.node.prompt_maker import PromptMaker
from edge_monitor.node.running import NotRunning
from edge_monitor.node.used_bundle import UsedBundle, used_bundle
from edge_monitor.store.state_dir import StateDir
from edge_monitor.store.store import Store

if TYPE_CHECKING:
    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.node.running import Running


class Node:
    """Settings, state directory and bundle of one node."""

    def __init__(self, settings: Settings, *, writes: bool = True, running: Running | None = None) -> None:
        self.settings = settings
        self.state_dir = StateDir.of(settings.node)
        self.store = Store(self.state_dir.database, writes=writes)
        self.reading, self.commit = self.store.reading, self.store.commit
        configured = find_bundle(settings.model.bundle, self.state_dir.path)  # said before anything is listened to
        if settings.model.scorer in SUB_BAND:
            sub_bands(configured.manifest.audio.dim, configured.manifest.scorer.bands)
        self.files = Files(self.state_dir.path, settings.retention.free_mb * 1_000_000)
        self.running = running or NotRunning(settings, lambda: self.bundle, self.store, self.state_dir.path)

    @cached_property
    def used_bundle(self) -> UsedBundle:
        """Return the bundle that is used, beside the configured one. Raises BundleError when there is none."""
        return used_bundle(self.settings)

    @property
    def bundle(self) -> Bundle:
        """Return the bundle that is used. Raises BundleError when there is none."""
        return self.used_bundle.bundle

    @cached_property
    def prompts(self) -> PromptMaker:
        """Return what makes prompts for the LLM."""
        return PromptMaker(self.settings, self.bundle, self.store, self.state_dir.path)

    def machine(self, name: str) -> MachineSettings:
        """Return the settings of a machine. Raises ConfigError when none has that name."""
        return self.settings.named(name)

    @property
    def window_s(self) -> float:
        """Return the bundle's window length, seconds."""
        return self.bundle.manifest.audio.window_s

    @property
    def metric(self) -> MetricSpec:
        """Return how the bundle's vectors are compared, by the configured scorer or else the bundle's own."""
        scoring, scorer = self.bundle.manifest.scoring, self.bundle.manifest.scorer
        name = self.settings.model.scorer or scorer.name
        most = self.settings.model.max_normals
        return MetricSpec(scoring.metric, scoring.normalize, scoring.floor_of_each, scorer.bands, name, most)

    def another_scorer(self, machine: str, used: str | None) -> str:
        """Return one line when a machine's generation is scored with another scorer than the configured; else ''.

        A generation keeps its scorer, for its threshold is in that scorer's unit.
        """
        wanted = method_name(self.metric)
        if used in (None, wanted):
            return ""
        return (
            f"{machine}: scored with {used}, as its generation was built; the configuration now says {wanted}:"
            f" `edge-monitor generations build --machine {machine}` goes over to it"
        )
