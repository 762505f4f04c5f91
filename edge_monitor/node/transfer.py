"""Normals as one portable file: exported from a node, imported into another."""

from __future__ import annotations

import io
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_monitor.memory.normals import Normals
from edge_monitor.memory.portable import export_normals, import_normals
from edge_monitor.node.normals import describe, rebuild
from edge_monitor.node.wire import pack_bytes, unpack_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.node.node import Node

    Answer = Iterator[dict[str, Any]]


def export(node: Node, *, machine: str) -> Answer:
    """Yield the machine's normals in use as the bytes of a portable file."""
    node.machine(machine)
    with tempfile.TemporaryDirectory(dir=node.state_dir.path) as folder:
        path = Path(folder) / "normals"
        with node.reading() as connection:
            moved = export_normals(Normals(connection, machine), path)
        yield {**asdict(moved), "content": pack_bytes(path.read_bytes())}


def import_(node: Node, *, machine: str, content: str) -> Answer:
    """Take in the normals of a portable file and build the next generation; yield what was done."""
    node.machine(machine)
    file = io.BytesIO(unpack_bytes(content))
    moved = import_normals(node.store, machine, file, where="the imported file", bundle_hash=node.bundle.bundle_hash)
    yield {**asdict(moved), **describe(rebuild(node, machine, "import"))}
