"""Restoring a backup: what it would change, and the change, which is one rename at the end."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.errors import StorageError
from edge_monitor.memory.generations import list_generations
from edge_monitor.node.backup_file import audio_name
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.learnt import require_bundle
from edge_monitor.node.used_bundle import bundle_for
from edge_monitor.store import database
from edge_monitor.store.carrying_over import CarriedOver, carry_over
from edge_monitor.store.contents import Contents, MachineContents, contents, contents_of
from edge_monitor.store.database_files import RESTORING, exchange, remove_database, settle
from edge_monitor.store.inspection import inspect

if TYPE_CHECKING:
    from edge_monitor.node.backup_file import Backup
    from edge_monitor.node.node import Node

_SLACK = 1.2  # an older schema is brought up to date in the restored file, through its log
_NOTHING = Contents({}, frozenset(), 0)


@dataclass(frozen=True, slots=True)
class MachineChange:
    """What a restore does to one machine."""

    machine: str
    configured: bool  # False: what is restored of it is not used
    now: MachineContents
    restored: MachineContents


@dataclass(frozen=True, slots=True)
class Change:
    """What a restore does to a node."""

    machines: tuple[MachineChange, ...]
    alarms_now: int
    alarms_restored: int
    alarms_lost: int  # known now, and not to the backup; those that go on are carried over
    readable: bool  # False: the present database is not, and nothing of it is carried over
    needs_force: bool  # there is something to be replaced


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has done."""

    change: Change
    carried: CarriedOver | None  # into the restored database; None: there was nothing, or it could not be read
    kept_as: str | None  # name of the database it replaced; None: there was none
    sounds: int  # kept recordings


class Restoring:
    """One backup on its way into a node's state directory; `close` removes what is unfinished of it.

    `change` says what would be done, and only reads. `apply` needs the directory's lock.
    """

    def __init__(self, node: Node, backup: Backup) -> None:
        self._node = node
        self._backup = backup
        self._path = node.state_dir.database
        self._fresh = self._path.with_name(f"{self._path.name}{RESTORING}{secrets.token_hex(4)}")

    def close(self) -> None:
        """Remove what is unfinished."""
        remove_database(self._fresh)

    def change(self) -> Change:
        """Take the backup's database out and inspect it; return what it would change.

        Raises StorageError for one that is damaged, foreign or newer, or when there is no room for it;
        BundleMismatchError when a configured machine was enrolled with another bundle.
        """
        self._extract()
        inspect(self._fresh)
        restored, _version = contents_of(self._fresh)
        now = self._now()
        settings = self._node.settings
        learnt_with = {
            machine.name: restored.machines.get(machine.name, MachineContents()).bundle_hash
            for machine in settings.machine
        }
        used = bundle_for(settings, {each for each in learnt_with.values() if each}).bundle  # once it is restored
        for machine, bundle_hash in learnt_with.items():
            require_bundle(self._node, machine, bundle_hash, used)
        return self._compared(now, restored)

    def apply(self, change: Change) -> Restored:
        """Put the inspected database in the place of the present one, which is kept.

        Raises StorageError and its kinds; then the present one is in its place, as it was.
        """
        carried = None
        with closing(database.connect(self._fresh)) as connection:  # brings it up to date
            for each in change.machines:
                list_generations(connection, each.machine)  # as the daemon will read them
            if self._path.exists():
                carried = carry_over(self._path, connection)
        if not settle(self._fresh):
            raise StorageError("the restored database cannot be finished", where=str(self._fresh), hint="try again")
        sounds = self._restore_audio()
        kept = exchange(self._path, self._fresh)
        return Restored(change, carried, None if kept is None else kept.name, sounds)

    def _extract(self) -> None:
        file = self._backup.database
        self._node.state_dir.require_room(round(file.size * _SLACK), self._node.settings.retention.free_mb)
        digest = hashlib.sha256()
        try:
            descriptor = os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                for chunk in self._backup.read_database():
                    digest.update(chunk)
                    target.write(chunk)
        except OSError as error:
            raise StorageError(
                f"the backup cannot be taken in: {error.strerror}", where=str(self._fresh), hint="check the folder"
            ) from error
        if digest.hexdigest() != file.sha256:
            raise StorageError("the backup changed while it was read", hint="try again")

    def _now(self) -> Contents | None:
        """Return what the present database holds; None when it cannot be read."""
        if not self._path.exists():
            return _NOTHING
        try:
            with closing(database.connect(self._path, read_only=True)) as connection:
                return _NOTHING if database.is_empty(connection) else contents(connection)
        except (sqlite3.Error, StorageError):
            return None

    def _compared(self, now: Contents | None, restored: Contents) -> Change:
        present = now or _NOTHING
        configured = [machine.name for machine in self._node.settings.machine]
        others = sorted((restored.machines.keys() | present.machines.keys()) - set(configured))
        nothing = MachineContents()
        return Change(
            machines=tuple(
                MachineChange(
                    name,
                    name in configured,
                    present.machines.get(name, nothing),
                    restored.machines.get(name, nothing),
                )
                for name in [*configured, *others]
            ),
            alarms_now=len(present.alarms),
            alarms_restored=len(restored.alarms),
            alarms_lost=len(present.alarms - restored.alarms),
            readable=now is not None,
            needs_force=now is None or not now.is_empty,
        )

    def _restore_audio(self) -> int:
        """Keep the backup's sound of configured machines; return how many recordings."""
        configured = {machine.name for machine in self._node.settings.machine}
        kept = [(machine, sha256) for machine, sha256 in self._backup.audio if machine in configured]
        for machine, sha256 in kept:
            KeptAudio.of(self._node, machine).write(sha256, self._backup.read(audio_name(machine, sha256)))
        return len(kept)
