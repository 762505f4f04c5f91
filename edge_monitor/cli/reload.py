"""`edge-monitor reload`: the running daemon takes up a changed configuration, or says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.options import json_option, settings_option

if TYPE_CHECKING:
    from edge_monitor.config.settings import Settings

RESTART_S = 20.0  # for so long the daemon may be away, between its old and its new settings


@click.command("reload")
@settings_option
@json_option
def command(*, settings: Settings, as_json: bool) -> None:
    """Have the daemon load its configuration again, and wait until the settings are in force or refused.

    Settings that are refused change nothing: the daemon goes on with those from before, and the exit code is not 0.
    """
    from edge_monitor.api.client import finish
    from edge_monitor.api.daemon_client import daemon_at
    from edge_monitor.errors import ControlError
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import RELOAD
    from edge_monitor.store.state_dir import StateDir

    path = StateDir.of(settings.node).control_socket
    with daemon_at(path, restart_s=RESTART_S) as daemon:
        if daemon is None:
            raise ControlError(
                "no daemon listens here",
                where=str(path),
                hint="`edge-monitor run` starts one; for another node.state_dir or node.runtime_dir restart it",
            )
        answer = finish(daemon, RELOAD, Nothing())
    done = f"in force: {', '.join(answer.changed)}" if answer.changed else "the settings are unchanged"
    tell(answer, [done], as_json=as_json)
