"""`edge-monitor reload`: the running daemon takes up a changed configuration, or says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import echo_json
from edge_monitor.cli.options import config_option, json_option

if TYPE_CHECKING:
    from pathlib import Path


RESTART_S = 20.0  # for so long the daemon may be away, between its old and its new settings


@click.command("reload")
@config_option
@json_option
def command(*, config_path: Path, as_json: bool) -> None:
    """Have the daemon load its configuration again, and wait until the settings are in force or refused.

    Settings that are refused change nothing: the daemon goes on with those from before, and the exit code is not 0.
    """
    from edge_monitor.api.client import finish
    from edge_monitor.api.daemon_client import daemon_at
    from edge_monitor.config.file import load_settings
    from edge_monitor.errors import ControlError
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import RELOAD
    from edge_monitor.store.state_dir import StateDir

    path = StateDir.of(load_settings(config_path).node).control_socket
    with daemon_at(path, restart_s=RESTART_S) as daemon:
        if daemon is None:
            raise ControlError(
                "no daemon listens here",
                where=str(path),
                hint="`edge-monitor run` starts one; for another node.state_dir or node.runtime_dir restart it",
            )
        answer = finish(daemon, RELOAD, Nothing())
    if as_json:
        echo_json(answer)
    elif answer.changed:
        click.echo(f"in force: {', '.join(answer.changed)}")
    else:
        click.echo("the settings are unchanged")
