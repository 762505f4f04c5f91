"""Operation on the running daemon: its configuration loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.node.node import Node


def reload(node: Node) -> Iterator[dict[str, Any]]:
    """Load the configuration again; yield the keys that changed once the new settings are in force.

    The daemon ends and begins anew meanwhile, and this connection outlives that: only its listening socket is closed.
    Raises ReloadError when the settings from before are in force.
    """
    yield {"changed": list(node.running.reload())}
