"""One node's state, for whoever may change it: the daemon, or a command while no daemon runs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import Bundle, find_bundle
from edge_monitor.errors import BundleError, StorageError
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import SUB_BAND, method_name, sub_bands
from edge_monitor.node.files import Files
from edge_monitor.node.prompt_maker import PromptMaker
from edge_monitor.node.running import NotRunning
from edge_monitor.store.state_dir import StateDir
from edge_monitor.store.store import Store

if TYPE_CHECKING:
    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import Settings
    from edge_monitor.node.running import Running


GO_OVER = (
    "go over with `edge-monitor enroll --re-embed` where the sound was kept,"
    " else with `edge-monitor enroll --anew RECORDINGS`"
)


class Node:
    """Settings, state directory and bundle of one node."""

    def __init__(self, settings: Settings, *, writes: bool = True, running: Running | None = None) -> None:
        self.settings = settings
        self.state_dir = StateDir.of(settings.node)
        self.store = Store(self.state_dir.database, writes=writes)
        self.reading, self.commit = self.store.reading, self.store.commit
        self.files = Files(self.state_dir.path, settings.retention.free_mb * 1_000_000)
        self.running = running or NotRunning(settings, lambda: self.bundle, self.store, self.state_dir.path)

    @cached_property
    def bundle(self) -> Bundle:
        """Return the configured bundle, or the one that it supersedes as long as everything was learnt with that.

        Raises BundleError when there is none, or when the configured scorer does not suit it.
        """
        bundle = used_bundle(self.settings)
        if self.settings.model.scorer in SUB_BAND:  # said before anything is listened to
            sub_bands(bundle.manifest.audio.dim, bundle.manifest.scorer.bands)
        return bundle

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
        return MetricSpec(scoring.metric, scoring.normalize, scoring.floor_of_each, scorer.bands, name)

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


def used_bundle(settings: Settings) -> Bundle:
    """Return the bundle that a node of these settings works with.

    That is the configured one; where it is named and supersedes the one that every enrolled machine was learnt with,
    that one. Raises BundleError when there is none.
    """
    state_dir = StateDir.of(settings.node)
    bundle = find_bundle(settings.model.bundle, state_dir.path)
    if not bundle.manifest.supersedes or "/" in settings.model.bundle or not state_dir.database.exists():
        return bundle
    try:
        with Store(state_dir.database, writes=False) as store, store.reading() as connection:
            found = {Normals(connection, machine.name).bundle_hash() for machine in settings.machine} - {None}
    except StorageError:  # whoever opens it for writing mends it, or says why not
        return bundle
    for name in bundle.manifest.supersedes:
        try:
            earlier = find_bundle(name, state_dir.path)
        except BundleError:
            continue
        if found == {earlier.bundle_hash}:
            return earlier
    return bundle


def superseded(settings: Settings, used: Bundle) -> str:
    """Return one line when a node works with a bundle that the configured one supersedes; else ''."""
    configured = find_bundle(settings.model.bundle, StateDir.of(settings.node).path)
    if configured.bundle_hash == used.bundle_hash:
        return ""
    return f"all was learnt with {used.name}, which {configured.name} {configured.manifest.version} supersedes"


def going_over(settings: Settings) -> Settings:
    """Return settings that mean the configured bundle itself, whatever was learnt with one that it supersedes."""
    folder = str(find_bundle(settings.model.bundle, StateDir.of(settings.node).path).folder)
    return settings.model_copy(update={"model": settings.model.model_copy(update={"bundle": folder})})
