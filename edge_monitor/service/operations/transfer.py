"""Normals as one portable file: exported from a node, imported into another."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import EdgeMonitorError
from edge_monitor.memory.normals import NormalStore
from edge_monitor.memory.portable import export_normals, import_normals
from edge_monitor.service.operations.normals import describe, rebuild
from edge_monitor.service.operations.wire import pack_bytes, unpack_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.service.node import Node

    Answer = Iterator[dict[str, Any]]


def export(node: Node, *, machine: str) -> Answer:
    """Yield the machine's normals in use as the bytes of a portable file."""
    node.machine(machine)
    with tempfile.TemporaryDirectory(dir=node.state_dir.path) as folder, node.database() as connection:
        path = Path(folder) / "normals"
        moved = export_normals(NormalStore(connection, machine), path)
        yield {**asdict(moved), "content": pack_bytes(path.read_bytes())}


def import_(node: Node, *, machine: str, content: str) -> Answer:
    """Take in the normals of a portable file and build the next generation; yield what was done."""
    node.machine(machine)
    with tempfile.TemporaryDirectory(dir=node.state_dir.path) as folder, node.database() as connection:
        path = Path(folder) / "normals"
        path.write_bytes(unpack_bytes(content))
        try:
            moved = import_normals(NormalStore(connection, machine), path, bundle_hash=node.bundle.bundle_hash)
        except EdgeMonitorError as error:
            error.where = "the imported file" if error.where == str(path) else error.where
            raise
        yield {**asdict(moved), **describe(rebuild(node, connection, machine, "import"))}
