"""`edge-monitor status`: what the machines of this node are doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.options import json_option, settings_option, verbose_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import Settings
    from edge_monitor.node.node import Node
    from edge_monitor.node.status import MachineStatus, NodeStatus

WATCH_S = 1.0
GROWING = 4  # the condition of an alarm that grows


@click.command("status")
@settings_option
@verbose_option
@json_option
@click.option("--watch", is_flag=True, help="Show it every second until Ctrl-C; with --json, one line each time.")
def command(*, settings: Settings, verbose: bool, as_json: bool, watch: bool) -> None:
    """Show what the daemon does: the broker, what was lost, each machine's state and the verdict on it.

    That is good, thin or deaf, with the next step. Exits with 3 when no daemon runs.
    """
    from edge_monitor.api.daemon_client import daemon_at
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import STATUS

    node = Node(settings, writes=False)
    while True:
        with daemon_at(node.state_dir.control_socket) as daemon:
            answer = daemon.call(STATUS, Nothing()) if daemon else STATUS.run(node, Nothing())
        if watch and not as_json:
            click.clear()  # nothing where the output is no terminal
        tell(answer, _lines(answer, node, verbose=verbose), as_json=as_json)
        if not answer.running:
            raise SystemExit(3)  # as `systemctl status` does
        if not watch:
            return
        time.sleep(WATCH_S)  # until Ctrl-C


def _lines(answer: NodeStatus, node: Node, *, verbose: bool) -> Iterator[str]:
    if not answer.running:
        yield "edge-monitor does not run here. `edge-monitor run` starts it."
        return
    health = {name: value or 0 for name, value in answer.health.items()}
    memory = f"{health['memory_bytes'] / 1e6:.0f} MB"
    yield f"running since {answer.started}, for {_span(health['uptime_s'])}, bundle {answer.bundle}, {memory}"
    mqtt = answer.mqtt
    if mqtt is None:
        yield "broker: none configured; alerts are kept and shown, not sent"
    else:
        link = "connected" if mqtt.connected else f"not connected: {mqtt.last_error}"
        oldest = f" (oldest: {_span(health['outbox_oldest_s'])})" if mqtt.queued else ""
        messages = f"{mqtt.queued} queued{oldest}, {mqtt.parked} parked, {mqtt.dropped} dropped"
        yield f"broker: {link}; {messages}, {counted(int(health['publish_errors']), 'error')}"
    windows = counted(int(health["windows_dropped"]), "window")
    frames = counted(int(health["frames_dropped"]), "audio frame")
    yield f"scoring: {health['encoder_mean_s'] * 1000:.1f} ms a window, {windows} and {frames} lost"
    unavailable = f"{health['explanations_unavailable']} unavailable, {health['explanations_waiting']} waiting"
    yield f"explanations: {health['explanations_ok']} given, {unavailable}"
    for thread in answer.threads:
        if thread.restarts or not thread.alive:
            begun = f"begun anew {counted(thread.restarts, 'time')}" if thread.alive else "has ended"
            yield f"thread {thread.name}: {begun}; last: {thread.last_error}"
    if not health["clock_synced"] or health["clock_steps"]:
        steps = counted(int(health["clock_steps"]), "step")
        yield f"clock: {'' if health['clock_synced'] else 'not '}synchronized, {steps}"
    for machine in answer.machines:
        yield _machine_line(machine)
        if machine.verdict:
            yield f"  {machine.verdict.line}"
            if verbose and machine.verdict.figures:
                yield f"  {machine.verdict.figures}"
        if text := node.another_scorer(machine.machine, machine.scorer):
            yield text


def _machine_line(machine: MachineStatus) -> str:
    heard = f"{counted(machine.windows, 'window')}, last {machine.heard_ago_s:.0f} s ago"
    parts = (
        f"{machine.machine}: {machine.state}",
        machine.text,
        None if machine.level_dbfs is None else f"{machine.level_dbfs:.1f} dBFS",
        None if machine.generation is None else f"generation {machine.generation} ({machine.scorer})",
        heard if machine.lag_s is None else f"{heard}  lag {machine.lag_s:.1f} s",
        f"{'growing ' * (machine.condition == GROWING)}alarm {machine.alarm_id}" if machine.alarm_id else None,
        f"episode {machine.episode_id}" if machine.episode_id else None,
    )
    return "  ".join(part for part in parts if part is not None)


def _span(seconds: float) -> str:
    """Return a time span for a person, e.g. `3 d 4 h`."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
