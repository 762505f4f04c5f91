"""Normals as one portable file: exported from a node, imported into another."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.memory.normal import bundle_mismatch
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.portable import export_normals, import_normals, read_recordings
from edge_monitor.node.bandwidth import require_bandwidth
from edge_monitor.node.generations import GenerationSummary, describe, rebuild
from edge_monitor.node.operation import Message, OfMachine

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled, Nothing


class ExportedNormals(Message):
    """A machine's normals in use."""

    recordings: int
    normals: int
    already: int  # 0
    file: str  # file id of a portable file, see memory/portable.py


class ImportNormals(OfMachine):
    """Normals from another node."""

    file: str  # file id of a portable file


class ImportedNormals(GenerationSummary):
    """The generation that was built with them."""

    recordings: int  # in the file
    already: int  # of those, known before


def export(node: Node, request: OfMachine, _cancelled: Cancelled) -> Generator[Nothing, None, ExportedNormals]:
    """Write a machine's normals in use to a portable file."""
    yield from ()
    node.machine(request.machine)
    with tempfile.TemporaryDirectory(dir=node.state_dir.path) as folder:
        path = Path(folder) / "normals"
        with node.reading() as connection:
            moved = export_normals(Normals(connection, request.machine), path)
        file = node.files.add(path.open("rb"))  # it goes with the folder, its content stays until it is closed
    return ExportedNormals.like(moved, file=file)


def import_(node: Node, request: ImportNormals, _cancelled: Cancelled) -> Generator[Nothing, None, ImportedNormals]:
    """Take in the normals of a portable file, all or none of them, and build the next generation."""
    yield from ()
    machine = request.machine
    node.machine(machine)
    where = "the imported file"
    with node.files.using(request.file) as file:
        found = read_recordings(file, where=where)
    if found.bundle_hash != node.bundle.bundle_hash:
        raise bundle_mismatch(where, (found.bundle_hash, node.bundle.bundle_hash))
    with node.reading() as connection:
        require_bandwidth(connection, machine, found.recordings)
    moved = import_normals(node.store, machine, found, where=where)
    built = describe(node, rebuild(node, machine, "import"))
    return ImportedNormals.like(built, recordings=moved.recordings, already=moved.already)
