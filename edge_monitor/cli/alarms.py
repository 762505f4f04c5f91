"""`edge-monitor alarms`: listed, shown, exported, rejected; and a test of who is told."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.answers import answered, tell, to_json, warn
from edge_monitor.cli.explanation import neighbour_lines, stored_line
from edge_monitor.cli.options import complete_machines, dry_run_option, json_option, machine_option, settings_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import Settings
    from edge_monitor.node.alarms import Alarm, Alarms, ExplainedAlarm, ListAlarms, Rejected

_MUCH_HIGHER = 1.5  # threshold after a rejection over the one before
_COLUMNS = (
    "alarm_id",
    "machine",
    "kind",
    "started",
    "raised",
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
    """List, show, export, reject or test alarms."""


@command.command("list")
@settings_option
@click.option("--machine", shell_complete=complete_machines, help="Of this machine only.")
@click.option("--active", "active_only", is_flag=True, help="Only those that have not ended.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest so many.")
@json_option
def list_(*, settings: Settings, machine: str | None, active_only: bool, limit: int, as_json: bool) -> None:
    """List alarms, newest first."""
    from edge_monitor.node.alarms import ListAlarms

    answer, alarms = _alarms(settings, ListAlarms(machine=machine, active_only=active_only), limit)
    if answer.in_memory:
        waiting = f"{answer.in_memory} more wait in memory: the disk does not take them"
        warn(f"{waiting} (`edge-monitor status` says why)")
    tell(alarms, map(_line, alarms) if alarms else ["no alarm"], as_json=as_json)


def _line(alarm: Alarm) -> str:
    span = f"{alarm.started} {'ACTIVE' if alarm.active else f'to {alarm.ended}'}"
    peak = f"peak {alarm.ratio:.2f} of the threshold{'  rejected' if alarm.rejected else ''}"
    return f"{alarm.alarm_id}  {alarm.machine}  {_kind(alarm)}  {span}  {peak}"


def _kind(alarm: Alarm) -> str:
    """Return what it is; an episode that became an alarm is one."""
    return "changed" if alarm.raised is None else "growing alarm" if alarm.active and alarm.growing else "alarm"


def _alarms(settings: Settings, request: ListAlarms, limit: int) -> tuple[Alarms, list[Alarm]]:
    """Return the last answer, and up to `limit` alarms, asked for a thousand at a time."""
    from edge_monitor.api.client import open_node
    from edge_monitor.node.alarms import MOST
    from edge_monitor.node.operations import LIST_ALARMS

    found: list[Alarm] = []
    with open_node(settings) as client:
        while True:
            piece = request.model_copy(update={"offset": len(found), "limit": min(limit - len(found), MOST)})
            answer = client.call(LIST_ALARMS, piece)
            found += answer.alarms
            if len(answer.alarms) < piece.limit or len(found) == limit:
                return answer, found


@command.command("show")
@click.argument("alarm_id")
@settings_option
@json_option
def show(*, alarm_id: str, settings: Settings, as_json: bool) -> None:
    """Show one alarm and what explains it; the first characters of its id are enough."""
    from edge_monitor.node.operations import SHOW_ALARM

    alarm = answered(settings, SHOW_ALARM, SHOW_ALARM.request(alarm_id=alarm_id))
    tell(alarm, _lines(alarm), as_json=as_json)


def _lines(alarm: ExplainedAlarm) -> Iterator[str]:
    yield f"{_kind(alarm)} {alarm.alarm_id} of {alarm.machine}"
    yield f"  from {alarm.started} to {alarm.ended or 'now: it is active'}"
    if alarm.kind == "changed" and alarm.raised:
        yield f"  changed at first, an alarm since {alarm.raised}"
    yield f"  peak score {alarm.peak_score:.4g}, {alarm.ratio:.2f} of the threshold {alarm.threshold:.4g}"
    yield f"  generation {alarm.generation}, level {alarm.level_dbfs:.1f} dBFS, {alarm.events} events"
    yield from neighbour_lines(alarm.neighbours)
    yield from map(stored_line, alarm.explanations)
    for kind, path in alarm.evidence.items():
        yield f"  {kind}: {path}"
    if alarm.rejected:
        yield f"  rejected {alarm.rejected}"


@command.command("export")
@settings_option
@click.option("--machine", shell_complete=complete_machines, help="Of this machine only.")
@click.option("--since", type=click.DateTime(), help="UTC; default: all.")
@json_option
def export(*, settings: Settings, machine: str | None, since: Any, as_json: bool) -> None:  # noqa: ANN401 - a datetime
    """Write all alarms to standard output as CSV (with --json: JSON lines), newest first."""
    from datetime import UTC

    from edge_monitor.node.alarms import ListAlarms

    since_ms = int(since.replace(tzinfo=UTC).timestamp() * 1000) if since else 0
    _, alarms = _alarms(settings, ListAlarms(machine=machine, since_ms=since_ms), _FOREVER)
    if as_json:
        for alarm in alarms:
            click.echo(to_json(alarm))
        return
    writer = csv.DictWriter(sys.stdout, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(alarm.model_dump() for alarm in alarms)


@command.command("test")
@machine_option
@json_option
def test(*, settings: Settings, machine: str, as_json: bool) -> None:
    """Prove the wiring: send start, explanation and end of an alarm with `test` 1, which counts for nothing."""
    from edge_monitor.node.operations import TEST_ALARM

    answer = answered(settings, TEST_ALARM, TEST_ALARM.request(machine=machine))
    lines = [f"{machine}: test alarm {answer.alarm_id} is queued, start, explanation and end:"]
    lines += [f"  {topic}" for topic in answer.topics]
    tell(answer, [*lines, "`edge-monitor status` says what still waits for the broker"], as_json=as_json)


@command.command("reject")
@click.argument("alarm_id")
@settings_option
@click.option("--add-normal", is_flag=True, help="Its sound is normal from now on: builds a generation.")
@click.option("--undo", is_flag=True, help="Take the rejection back, and the normals it added.")
@dry_run_option
@json_option
def reject(*, alarm_id: str, settings: Settings, add_normal: bool, undo: bool, dry_run: bool, as_json: bool) -> None:
    """Say that an alarm was a false one; the first characters of its id are enough."""
    if add_normal and undo:
        raise click.UsageError("--undo takes back whatever the rejection did; leave --add-normal out")
    from edge_monitor.node.operations import REJECT_ALARM

    request = REJECT_ALARM.request(alarm_id=alarm_id, add_normal=add_normal, undo=undo, dry_run=dry_run)
    answer = answered(settings, REJECT_ALARM, request)
    tell(answer, _rejected_lines(answer, undo=undo), as_json=as_json)


def _rejected_lines(answer: Rejected, *, undo: bool) -> Iterator[str]:
    normals = f"{counted(answer.normals, 'normal', '+d')} ({answer.seconds:.0f} s"
    if answer.dry_run:
        yield f"alarm {answer.alarm_id}: would change {normals})"
        if answer.threshold is not None:
            yield from _threshold_lines(answer, "  threshold")
        return
    already = "" if answer.was_rejected is undo else "was already "
    yield f"alarm {answer.alarm_id}: {already}{'not rejected' if undo else 'rejected'}"
    if answer.generation is not None and answer.threshold is not None:
        active = f"generation {answer.generation} of {answer.machine} is active"
        yield from _threshold_lines(answer, f"  {normals} of its sound); {active}, threshold")


def _threshold_lines(answer: Rejected, head: str) -> Iterator[str]:
    assert answer.threshold is not None  # noqa: S101 - whoever calls has looked
    yield f"{head} {answer.threshold_before:.4g} -> {answer.threshold:.4g}"
    if answer.threshold > _MUCH_HIGHER * answer.threshold_before:
        yield (
            "  Caution: that is much higher, quieter faults raise no alarm any more. If the sound was not"
            " normal, --undo takes it back; hours of normal sound make the threshold lower."
        )
