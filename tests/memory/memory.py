"""One machine's memory in a real database: what is read of its normals, and what changes them."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from edge_monitor.memory import changes
from edge_monitor.memory.normal import NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.store import database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from edge_monitor.memory.normal import Added, NewNormal, Recording
    from edge_monitor.store.store import Store


def run(store: Store, statement: str) -> None:
    """Have the writer run one statement."""
    store.commit(lambda connection: connection.execute(statement))


_CHANGES = ("remove", "restore", "remove_recording")


class Memory:
    """Reads by the names of `Normals`, changes by those of `changes`; each on a connection of its own."""

    def __init__(self, store: Store, machine: str) -> None:
        self.store = store
        self.machine = machine

    @cached_property
    def connection(self) -> sqlite3.Connection:
        """Return a reading connection of its own, which sees what is committed."""
        self.store.open()
        return database.connect(self.store.path, read_only=True)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever Normals and changes have
        """Return a function that reads or changes."""
        if not hasattr(Normals, name) and name not in _CHANGES:
            raise AttributeError(name)
        if name in _CHANGES:
            return partial(getattr(changes, name), self.store, self.machine)

        def read(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
            with self.store.reading() as connection:
                return getattr(Normals(connection, self.machine), name)(*arguments, **options)

        return read

    def add(
        self,
        name: str,
        sha256: str,
        seconds: float,
        normals: Sequence[NewNormal],
        *,
        bundle_hash: str,
        thin: bool = True,
    ) -> Added:
        """Add one recording."""
        new = NewRecording(name, sha256, seconds, normals)
        return changes.add(self.store, self.machine, new, bundle_hash=bundle_hash, thin=thin)

    def switch(self, heard: Sequence[tuple[Recording, Sequence[NewNormal]]], *, bundle_hash: str) -> None:
        """Replace the bundle in use."""
        recordings = [NewRecording(each.name, each.sha256, each.seconds, normals) for each, normals in heard]
        used = self.bundle_hash()
        changes.add_all(self.store, self.machine, recordings, bundle_hash=bundle_hash, instead_of=used)
