"""`edge-monitor alarms`: listed, shown, exported, rejected."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.answers import listed, summed_up
from edge_monitor.cli.options import complete_machines, config_option, dry_run_option, json_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from pathlib import Path

_MUCH_HIGHER = 1.5  # threshold after a rejection over the one before
_COLUMNS = (
    "alarm_id",
    "machine",
    "started",
    "ended",
    "peak_score",
    "threshold",
    "ratio",
    "generation",
    "level_dbfs",
    "events",
    "rejected",
    "end_reason",
)
_FOREVER = 2**31


@click.group("alarms")
def command() -> None:
    """List, show, export or reject alarms."""


@command.command("list")
@config_option
@click.option("--machine", shell_complete=complete_machines, help="Of this machine only.")
@click.option("--active", "active_only", is_flag=True, help="Only those that have not ended.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest so many.")
@json_option
def list_(*, config_path: Path, machine: str | None, active_only: bool, limit: int, as_json: bool) -> None:
    """List alarms, newest first."""
    alarms = listed(config_path, "alarms.list", machine=machine, since_ms=0, active_only=active_only, limit=limit)
    in_memory = summed_up(config_path, "alarms.in_memory")["alarms"]
    if in_memory:
        click.echo(
            f"edge-monitor: {in_memory} more wait in memory: the disk does not take them"
            " (`edge-monitor status` says why)",
            err=True,
        )
    if as_json:
        click.echo(json.dumps(alarms))
        return
    if not alarms:
        click.echo("no alarm")
    for alarm in alarms:
        end = "ACTIVE" if alarm["active"] else f"to {alarm['ended']}"
        rejected = "  rejected" if alarm["rejected"] else ""
        click.echo(
            f"{alarm['alarm_id']}  {alarm['machine']}  {alarm['started']} {end}"
            f"  peak {alarm['ratio']:.2f} of the threshold{rejected}"
        )


@command.command("show")
@click.argument("alarm_id")
@config_option
@json_option
def show(*, alarm_id: str, config_path: Path, as_json: bool) -> None:
    """Show one alarm and what explains it; the first characters of its id are enough."""
    from edge_monitor.cli.explanation import print_explanation

    alarm = summed_up(config_path, "alarms.show", alarm_id=alarm_id)
    if as_json:
        click.echo(json.dumps(alarm))
        return
    click.echo(f"alarm {alarm['alarm_id']} of {alarm['machine']}")
    click.echo(f"  from {alarm['started']} to {alarm['ended'] or 'now: it is active'}")
    click.echo(
        f"  peak score {alarm['peak_score']:.4g}, {alarm['ratio']:.2f} of the threshold {alarm['threshold']:.4g}"
    )
    click.echo(f"  generation {alarm['generation']}, level {alarm['level_dbfs']:.1f} dBFS, {alarm['events']} events")
    for neighbour in alarm["neighbours"]:
        click.echo(
            f"  nearest normal: {neighbour['recording']} at {neighbour['recording_start_s']:.0f} s,"
            f" distance {neighbour['distance']:.4g}"
        )
    for explanation in alarm["explanations"]:
        print_explanation(explanation)
    for kind, path in alarm["evidence"].items():
        click.echo(f"  {kind}: {path}")
    if alarm["rejected"]:
        click.echo(f"  rejected {alarm['rejected']}")


@command.command("export")
@config_option
@click.option("--machine", shell_complete=complete_machines, help="Of this machine only.")
@click.option("--since", type=click.DateTime(), help="UTC; default: all.")
@json_option
def export(*, config_path: Path, machine: str | None, since: Any, as_json: bool) -> None:  # noqa: ANN401 - a datetime
    """Write all alarms to standard output as CSV (with --json: JSON lines), newest first."""
    from datetime import UTC

    since_ms = int(since.replace(tzinfo=UTC).timestamp() * 1000) if since else 0
    alarms = listed(config_path, "alarms.list", machine=machine, since_ms=since_ms, active_only=False, limit=_FOREVER)
    if as_json:
        for alarm in alarms:
            click.echo(json.dumps(alarm))
        return
    writer = csv.DictWriter(sys.stdout, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(alarms)


@command.command("reject")
@click.argument("alarm_id")
@config_option
@click.option("--add-normal", is_flag=True, help="Its sound is normal from now on: builds a generation.")
@click.option("--undo", is_flag=True, help="Take the rejection back, and the normals it added.")
@dry_run_option
@json_option
def reject(*, alarm_id: str, config_path: Path, add_normal: bool, undo: bool, dry_run: bool, as_json: bool) -> None:
    """Say that an alarm was a false one; the first characters of its id are enough."""
    if add_normal and undo:
        raise click.UsageError("--undo takes back whatever the rejection did; leave --add-normal out")
    answer = summed_up(
        config_path, "alarms.reject", alarm_id=alarm_id, add_normal=add_normal, undo=undo, dry_run=dry_run
    )
    if as_json:
        click.echo(json.dumps(answer))
        return
    if dry_run:
        click.echo(
            f"alarm {answer['alarm_id']}: would change {counted(answer['normals'], 'normal', '+d')}"
            f" ({answer['seconds']:.0f} s)"
        )
        return
    already = answer["was_rejected"] is not undo
    click.echo(
        f"alarm {answer['alarm_id']}: {'' if not already else 'was already '}{'not rejected' if undo else 'rejected'}"
    )
    if answer["generation"]:
        click.echo(
            f"  {counted(answer['normals'], 'normal', '+d')} ({answer['seconds']:.0f} s of its sound);"
            f" generation {answer['generation']} of {answer['machine']} is active,"
            f" threshold {answer['threshold_before']:.4g} -> {answer['threshold']:.4g}"
        )
        if answer["threshold"] > _MUCH_HIGHER * answer["threshold_before"]:
            click.echo(
                "  Caution: that is much higher, quieter faults raise no alarm any more. If the sound was not"
                " normal, --undo takes it back; hours of normal sound make the threshold lower."
            )
