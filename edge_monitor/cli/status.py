"""`edge-monitor status`: what the machines of this node are doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import echo_json
from edge_monitor.cli.options import config_option, json_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.node.node import Node
    from edge_monitor.node.status import NodeStatus

WATCH_S = 1.0


@click.command("status")
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Show it every second until Ctrl-C; with --json, one line each time.")
def command(*, config_path: Path, as_json: bool, watch: bool) -> None:
    """Show what the daemon does: the state of each machine, the broker, what was lost. Exits with 3 when none runs."""
    from edge_monitor.api.daemon_client import daemon_at
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import STATUS

    node = Node(load_settings(config_path), writes=False)
    while True:
        with daemon_at(node.state_dir.control_socket) as daemon:
            answer = daemon.call(STATUS, Nothing()) if daemon else STATUS.run(node, Nothing())
        if as_json:
            echo_json(answer)
        else:
            if watch:
                click.clear()  # nothing where the output is no terminal
            _show(answer, node)
        if not answer.running:
            raise SystemExit(3)  # as `systemctl status` does
        if not watch:
            return
        time.sleep(WATCH_S)  # until Ctrl-C


def _show(answer: NodeStatus, node: Node) -> None:
    if not answer.running:
        click.echo("edge-monitor does not run here. `edge-monitor run` starts it.")
        return
    health = {name: value or 0 for name, value in answer.health.items()}
    click.echo(
        f"running since {answer.started}, for {_span(health['uptime_s'])}, bundle {answer.bundle}"
        f", {health['memory_bytes'] / 1e6:.0f} MB"
    )
    mqtt = answer.mqtt
    if mqtt is None:
        click.echo("broker: none configured; alerts are kept and shown, not sent")
    else:
        link = "connected" if mqtt.connected else f"not connected: {mqtt.last_error}"
        oldest = f" (oldest: {_span(health['outbox_oldest_s'])})" if mqtt.queued else ""
        click.echo(
            f"broker: {link}; {mqtt.queued} queued{oldest}, {mqtt.parked} parked, {mqtt.dropped} dropped"
            f", {counted(int(health['publish_errors']), 'error')}"
        )
    click.echo(
        f"scoring: {health['encoder_mean_s'] * 1000:.1f} ms a window,"
        f" {counted(int(health['windows_dropped']), 'window')}"
        f" and {counted(int(health['frames_dropped']), 'audio frame')} lost"
    )
    click.echo(
        f"explanations: {health['explanations_ok']} given, {health['explanations_unavailable']} unavailable,"
        f" {health['explanations_waiting']} waiting"
    )
    for thread in answer.threads:
        if thread.restarts or not thread.alive:
            begun = f"begun anew {counted(thread.restarts, 'time')}" if thread.alive else "has ended"
            click.echo(f"thread {thread.name}: {begun}; last: {thread.last_error}")
    if not health["clock_synced"] or health["clock_steps"]:
        steps = counted(int(health["clock_steps"]), "step")
        click.echo(f"clock: {'' if health['clock_synced'] else 'not '}synchronized, {steps}")
    for machine in answer.machines:
        alarm = f"  alarm {machine.alarm_id}" if machine.alarm_id else ""
        level = "" if machine.level_dbfs is None else f"  {machine.level_dbfs:.1f} dBFS"
        generation = "" if machine.generation is None else f"  generation {machine.generation} ({machine.scorer})"
        lag = "" if machine.lag_s is None else f"  lag {machine.lag_s:.1f} s"
        click.echo(
            f"{machine.machine}: {machine.state}  {machine.text}{level}{generation}"
            f"  {counted(machine.windows, 'window')}, last {machine.heard_ago_s:.0f} s ago{lag}{alarm}"
        )
        if text := node.another_scorer(machine.machine, machine.scorer):
            click.echo(text)


def _span(seconds: float) -> str:
    """Return a time span for a person, e.g. `3 d 4 h`."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
