"""What a configuration names and must be there before a node can use it: bundle, password, recordings, state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.capture.recording import list_recordings, require_sound
from edge_monitor.config.machine import RecordingSource
from edge_monitor.deliver.credentials import read_password
from edge_monitor.errors import ConfigError
from edge_monitor.node.node import Node
from edge_monitor.store.state_dir import StateDir

if TYPE_CHECKING:
    from edge_monitor.config.settings import Settings


def require_named(settings: Settings) -> Node:
    """Return the node of these settings. Raises EdgeMonitorError for what they name and is not there.

    Microphones and the broker are not tried: a node waits for them.
    """
    node = Node(settings, writes=False)  # a daemon may be running
    node.bundle.check()
    if settings.mqtt:
        read_password(settings.mqtt)
    for machine in settings.machine:
        if isinstance(machine.source, RecordingSource):
            for path in list_recordings(machine.source.path):
                require_sound(path, machine.source.channel)
    state_dir = StateDir.of(settings.node).path
    if state_dir.exists() and not state_dir.is_dir():
        raise ConfigError("is not a folder", where=str(state_dir), hint="node.state_dir names one")
    return node
