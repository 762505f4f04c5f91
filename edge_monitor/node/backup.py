"""Backing up a node while it runs: a snapshot of its database, and the sound it keeps."""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from edge_monitor import __version__, clock
from edge_monitor.errors import StorageError
from edge_monitor.node.backup_file import FORMAT, BackedUpMachine, Manifest
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.operation import Message, Nothing, OfMachine
from edge_monitor.store import database
from edge_monitor.store.contents import contents_of
from edge_monitor.store.inspection import inspect
from edge_monitor.store.snapshot import lower_priority, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from typing import BinaryIO

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled

_SIGN_OF_LIFE_S = 1.0  # an asker that has gone is noticed so soon
_SHA256 = re.compile(r"[0-9a-f]{64}")


class MemorySnapshot(Message):
    """A snapshot of the database."""

    manifest: Manifest
    size: int  # bytes
    unfit: str | None  # why a restore would refuse it
    database: str  # file id of the SQLite file


class KeptSound(Message):
    """The sound of one recording."""

    machine: str
    sha256: str  # of the recording
    size: int  # bytes


class KeptSounds(Message):
    """Every kept sound of the configured machines."""

    sounds: tuple[KeptSound, ...]


class OpenKeptSound(OfMachine):
    """Which kept sound is wanted."""

    sha256: Annotated[str, Field(pattern=f"^{_SHA256.pattern}$")]


class OpenedSound(Message):
    """A kept sound that can be fetched."""

    content: str  # file id of the FLAC file


def back_up_memory(node: Node, _request: Nothing, cancelled: Cancelled) -> Generator[Nothing, None, MemorySnapshot]:
    """Make a snapshot of the database, in a thread of low priority.

    It says every second that it goes on; when nobody waits any more the snapshot is cancelled and removed.
    """
    if not node.state_dir.database.exists():
        raise StorageError("nothing to back up yet", where=str(node.state_dir.database), hint="enrol a machine first")
    files = [node.state_dir.database.with_name(database.FILE_NAME + part) for part in ("", "-wal")]
    size = sum(file.stat().st_size for file in files if file.exists())
    node.state_dir.require_room(size, node.settings.retention.free_mb)
    closed = threading.Event()
    with ThreadPoolExecutor(1, "snapshot", lower_priority) as thread:
        made = thread.submit(_made, node, lambda: closed.is_set() or cancelled())
        try:
            while wait([made], _SIGN_OF_LIFE_S).not_done:
                yield Nothing()
        finally:
            closed.set()
    manifest, unfit, file = made.result()  # the file is nameless by now: it goes with this process, however that ends
    size = os.fstat(file.fileno()).st_size
    return MemorySnapshot(manifest=manifest, size=size, unfit=unfit, database=node.files.add(file))


def list_kept_sounds(node: Node, _request: Nothing) -> KeptSounds:
    """Return every kept sound of a configured machine."""
    return KeptSounds(
        sounds=tuple(
            KeptSound(machine=machine.name, sha256=path.stem, size=path.stat().st_size)
            for machine in node.settings.machine
            for path in sorted(KeptAudio.of(node, machine.name).folder.glob("*.flac"))
            if _SHA256.fullmatch(path.stem) and path.is_file() and not path.is_symlink()
        )
    )


def open_kept_sound(node: Node, request: OpenKeptSound) -> OpenedSound:
    """Open one kept sound to be fetched."""
    node.machine(request.machine)
    try:
        file = KeptAudio.of(node, request.machine).path(request.sha256).open("rb")
    except OSError as error:
        raise StorageError(f"a kept sound cannot be read: {error.strerror}", where=request.sha256) from error
    return OpenedSound(content=node.files.add(file))


def _made(node: Node, cancelled: Callable[[], bool]) -> tuple[Manifest, str | None, BinaryIO]:
    """Return a snapshot's manifest, what a restore would find wrong with it, and its file, which has no name."""
    with snapshot(node.state_dir.database, cancelled=cancelled) as path:
        manifest = _manifest(node, path)
        unfit = None
        try:
            inspect(path, cancelled=cancelled)
        except StorageError as error:
            if cancelled():
                raise
            unfit = f"{error.where}: {error.message}"
        return manifest, unfit, path.open("rb")


def _manifest(node: Node, path: Path) -> Manifest:
    held, version = contents_of(path)
    settings = node.settings.node
    nothing = BackedUpMachine(normals=0, generations=0, active=None, bundle_hash=None)
    machines = {machine.name: nothing for machine in node.settings.machine}
    return Manifest(
        format=FORMAT,
        made=clock.rfc3339(clock.now().wall_ms),
        version=__version__,
        schema_version=version,
        site=settings.site,
        node=settings.name,
        bundle=node.bundle.name,
        alarms=len(held.alarms),
        messages=held.messages,
        machines=machines | {name: BackedUpMachine(**asdict(about)) for name, about in held.machines.items()},
    )
