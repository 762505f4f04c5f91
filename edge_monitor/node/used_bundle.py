"""Which bundle a node works with: the configured one, or one that it supersedes while all was learnt with that."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import Bundle, find_bundle
from edge_monitor.errors import BundleError, StorageError
from edge_monitor.store.state_dir import StateDir
from edge_monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from edge_monitor.config.settings import Settings

GO_OVER = (
    "go over with `edge-monitor enroll --re-embed` where the sound was kept,"
    " else with `edge-monitor enroll --anew RECORDINGS`"
)
# What is scored with decides; what was left behind by an enrolment that failed does not. Read from any schema.
_LEARNT = """
    SELECT machine, bundle_hash FROM generations WHERE active = 1 UNION
    SELECT machine, bundle_hash FROM normals
    WHERE removed_ms IS NULL AND machine NOT IN (SELECT machine FROM generations WHERE active = 1)
"""


@dataclass(frozen=True, slots=True)
class UsedBundle:
    """A node's bundle beside the one that is configured."""

    bundle: Bundle
    configured: Bundle

    @property
    def superseded(self) -> str:
        """Return one line when the configured bundle supersedes the one that is used; else ''."""
        new = self.configured
        if new.bundle_hash == self.bundle.bundle_hash:
            return ""
        return f"all was learnt with {self.bundle.name}, which {new.name} {new.manifest.version} supersedes"


def used_bundle(settings: Settings) -> UsedBundle:
    """Return the bundle that a node of these settings works with. Raises BundleError when there is none."""
    return bundle_for(settings, _learnt_with(settings))


def bundle_for(settings: Settings, learnt_with: AbstractSet[str]) -> UsedBundle:
    """Return the bundle for a node whose machines were learnt with bundles of these hashes.

    A bundle that is configured by its path supersedes none. Raises BundleError when there is none.
    """
    state_dir = StateDir.of(settings.node).path
    configured = find_bundle(settings.model.bundle, state_dir)
    if "/" not in settings.model.bundle:
        for name in configured.manifest.supersedes:
            with suppress(BundleError):
                earlier = find_bundle(name, state_dir)
                if learnt_with == {earlier.bundle_hash}:
                    return UsedBundle(earlier, configured)
    return UsedBundle(configured, configured)


def going_over(settings: Settings) -> Settings:
    """Return settings that mean the configured bundle itself, whatever was learnt with one that it supersedes."""
    folder = str(find_bundle(settings.model.bundle, StateDir.of(settings.node).path).folder)
    return settings.model_copy(update={"model": settings.model.model_copy(update={"bundle": folder})})


def _learnt_with(settings: Settings) -> set[str]:
    """Return the hashes of the bundles that the machines were learnt with; none where nobody can say yet."""
    state_dir = StateDir.of(settings.node)
    machines = {machine.name for machine in settings.machine}
    # Whoever opens it for writing mends what is damaged, or says why not; a stranger does not get as far.
    with suppress(StorageError, OSError, sqlite3.Error):
        if state_dir.database.exists():
            with state_dir.as_owner(), Store(state_dir.database, writes=False) as store, store.reading() as connection:
                return {hash_ for machine, hash_ in connection.execute(_LEARNT) if machine in machines}
    return set()
