"""The running daemon's configuration, loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.node.operation import Message, Nothing

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled


class Reloaded(Message):
    """The keys that changed."""

    changed: tuple[str, ...]


def reload(node: Node, _request: Nothing, _cancelled: Cancelled) -> Generator[Nothing, None, Reloaded]:
    """Load the configuration again; return once the new settings are in force.

    The daemon ends and begins anew meanwhile. Raises ReloadError when the settings from before are in force.
    """
    yield Nothing()
    return Reloaded(changed=node.running.reload())
