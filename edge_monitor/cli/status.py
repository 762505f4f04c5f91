"""`edge-monitor status`: what the machines of this node are doing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import config_option, json_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command("status")
@config_option
@json_option
def command(*, config_path: Path, as_json: bool) -> None:
    """Show what the daemon does: the state of each machine, the broker, what was lost. Exits with 3 when none runs."""
    from edge_monitor.config_file import load_settings
    from edge_monitor.service import control
    from edge_monitor.service.client import last
    from edge_monitor.service.node import Node

    settings = load_settings(config_path)
    node = Node(settings)
    connection = control.connect(node.state_dir.control_socket)
    answer = last(control.ask(connection, "status", {})) if connection else node.status()
    if as_json:
        click.echo(json.dumps(answer))
    else:
        _show(answer)
    if not answer["running"]:
        raise SystemExit(3)  # as `systemctl status` does


def _show(answer: dict[str, Any]) -> None:
    if not answer["running"]:
        click.echo("edge-monitor does not run here. `edge-monitor run` starts it.")
        return
    click.echo(f"running since {answer['started']}, bundle {answer['bundle']}")
    mqtt = answer["mqtt"]
    if mqtt is None:
        click.echo("broker: none configured; alerts are kept and shown, not sent")
    else:
        link = "connected" if mqtt["connected"] else f"not connected: {mqtt['last_error']}"
        click.echo(f"broker: {link}; {mqtt['queued']} queued, {mqtt['parked']} parked, {mqtt['dropped']} dropped")
    if answer["dropped_frames"]:
        click.echo(f"audio: {answer['dropped_frames']} frames lost since the start")
    for machine in answer["machines"]:
        alarm = f"  alarm {machine['alarm_id']}" if machine["alarm_id"] else ""
        level = "" if machine["level_dbfs"] is None else f"  {machine['level_dbfs']:.1f} dBFS"
        generation = "" if machine["generation"] is None else f"  generation {machine['generation']}"
        click.echo(f"{machine['machine']}: {machine['state']}  {machine['text']}{level}{generation}{alarm}")
