"""What a node answers to one question of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def listed(config_path: Path, verb: str, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON type
    """Return all items of the answer. Raises EdgeMonitorError."""
    from edge_monitor.api.client import open_node
    from edge_monitor.config.file import load_settings

    with open_node(load_settings(config_path)) as ask:
        return list(ask(verb, **arguments))


def summed_up(config_path: Path, verb: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Return the last item of the answer, which sums it up. Raises EdgeMonitorError."""
    return (listed(config_path, verb, **arguments) or [{}])[-1]
