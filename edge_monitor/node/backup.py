"""Backing up a node while it runs: a snapshot of its database, and the sound it keeps."""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_monitor import __version__, clock
from edge_monitor.errors import StorageError
from edge_monitor.node.backup_file import CHUNK_BYTES, FORMAT, BackedUpMachine, Manifest
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.wire import pack_bytes
from edge_monitor.store import database
from edge_monitor.store.contents import contents_of
from edge_monitor.store.inspection import inspect
from edge_monitor.store.snapshot import lower_priority, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from edge_monitor.node.node import Node

    Answer = Iterator[dict[str, Any]]

_SIGN_OF_LIFE_S = 1.0  # an asker that has gone is noticed so soon
_SHA256 = re.compile(r"[0-9a-f]{64}")


def memory(node: Node) -> Answer:
    """Yield manifest, size and `unfit` of a snapshot of the database (a SQLite file), then its bytes.

    `unfit`: why a restore would refuse it, else null. Before that, signs of life: when nobody takes them any more, the
    snapshot is cancelled and removed. Made by a thread of low priority.
    """
    if not node.state_dir.database.exists():
        raise StorageError("nothing to back up yet", where=str(node.state_dir.database), hint="enrol a machine first")
    files = [node.state_dir.database.with_name(database.FILE_NAME + part) for part in ("", "-wal")]
    size = sum(file.stat().st_size for file in files if file.exists())
    node.state_dir.require_room(size, node.settings.retention.free_mb)
    cancelled = threading.Event()
    with ThreadPoolExecutor(1, "snapshot", lower_priority) as thread:
        made = thread.submit(_made, node, cancelled.is_set)
        try:
            while wait([made], _SIGN_OF_LIFE_S).not_done:
                yield {"alive": True}
        finally:
            cancelled.set()
    manifest, unfit, file = made.result()
    with file:  # nameless by now: it goes with this process, however that ends
        size = os.fstat(file.fileno()).st_size
        yield {"manifest": manifest.model_dump_json(), "size": size, "unfit": unfit}
        while chunk := file.read(CHUNK_BYTES):
            yield {"content": pack_bytes(chunk)}


def audio(node: Node) -> Answer:
    """Yield (machine, sha256, size) of every kept sound of a configured machine."""
    for machine in node.settings.machine:
        folder = KeptAudio.of(node, machine.name).folder
        for path in sorted(folder.glob("*.flac")):
            if _SHA256.fullmatch(path.stem) and path.is_file() and not path.is_symlink():
                yield {"machine": machine.name, "sha256": path.stem, "size": path.stat().st_size}


def sound(node: Node, *, machine: str, sha256: str) -> Answer:
    """Yield one kept sound's bytes."""
    node.machine(machine)
    try:
        with KeptAudio.of(node, machine).path(sha256).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield {"content": pack_bytes(chunk)}
    except OSError as error:
        raise StorageError(f"a kept sound cannot be read: {error.strerror}", where=sha256) from error


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
