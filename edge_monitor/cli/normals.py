"""`edge-monitor normals`: what a machine's memory is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import answered, fetched, sent, tell
from edge_monitor.cli.options import dry_run_option, force_option, json_option, machine_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.config.settings import Settings
    from edge_monitor.node.normals import ChangedRecordings, ChooseRecordings, EnrolledRecording
    from edge_monitor.node.operation import LongOperation, Nothing


@click.group("normals")
def command() -> None:
    """List, remove, restore, export or import a machine's normal sounds."""


@command.command("list")
@machine_option
@json_option
def list_(*, settings: Settings, machine: str, as_json: bool) -> None:
    """List the recordings a machine was enrolled with."""
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import LIST_NORMALS

    recordings = answered(settings, LIST_NORMALS, OfMachine(machine=machine)).recordings
    nothing = [f"{machine}: no normal sound yet. `edge-monitor enroll` takes it in."]
    tell(recordings, _lines(recordings) if recordings else nothing, as_json=as_json)


def _lines(recordings: Sequence[EnrolledRecording]) -> Iterator[str]:
    from edge_monitor.clock import rfc3339

    for session, parts in _sessions(recordings):
        first, last = parts[0].id, parts[-1].id
        seconds, removed = sum(part.seconds for part in parts), sum(part.removed for part in parts)
        normals = counted(sum(part.normals for part in parts), "normal") + (f"  ({removed} removed)" if removed else "")
        numbers = f"#{first}" if first == last else f"#{first}-#{last}"
        yield f"{numbers}  {session}  {seconds:.0f} s  {normals}  added {rfc3339(parts[0].added_ms)}"


def _sessions(recordings: Sequence[EnrolledRecording]) -> list[tuple[str, list[EnrolledRecording]]]:
    """Return recordings by name, the parts of a live session together."""
    sessions: dict[str, list[EnrolledRecording]] = {}
    for recording in recordings:
        session = recording.name.partition(" part ")[0] if recording.name.startswith("live ") else None
        sessions.setdefault(session or f"{recording.name}\0{recording.id}", []).append(recording)
    return [(name.partition("\0")[0], parts) for name, parts in sessions.items()]


@command.command("remove")
@click.argument("recordings", nargs=-1, required=True)
@machine_option
@dry_run_option
@json_option
def remove(*, recordings: tuple[str, ...], settings: Settings, machine: str, dry_run: bool, as_json: bool) -> None:
    """Take RECORDINGS (names, live sessions or #numbers of `normals list`) out of use; `normals restore` undoes it."""
    from edge_monitor.node.operations import REMOVE_NORMALS

    _change(REMOVE_NORMALS, recordings, settings, machine, dry_run=dry_run, as_json=as_json)


@command.command("restore")
@click.argument("recordings", nargs=-1, required=True)
@machine_option
@dry_run_option
@json_option
def restore(*, recordings: tuple[str, ...], settings: Settings, machine: str, dry_run: bool, as_json: bool) -> None:
    """Take removed RECORDINGS into use again."""
    from edge_monitor.node.operations import RESTORE_NORMALS

    _change(RESTORE_NORMALS, recordings, settings, machine, dry_run=dry_run, as_json=as_json)


def _change(
    operation: LongOperation[ChooseRecordings, Nothing, ChangedRecordings],
    recordings: tuple[str, ...],
    settings: Settings,
    machine: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    request = operation.request(machine=machine, recordings=recordings, dry_run=dry_run)
    answer = answered(settings, operation, request)
    done = "would change" if dry_run else "changed"
    generation = f"; generation {answer.generation} is active" if answer.generation else ""
    tell(answer, [f"{done} {counted(answer.normals, 'normal')}, {answer.left} in use{generation}"], as_json=as_json)


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@machine_option
@force_option
@json_option
def export(*, file: Path, settings: Settings, machine: str, force: bool, as_json: bool) -> None:
    """Write a machine's normals into one portable FILE, for another box with the same bundle."""
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.errors import StorageError
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import EXPORT_NORMALS

    if file.exists() and not force:
        raise StorageError("exists already", where=str(file), hint="--force overwrites it")
    with open_node(settings) as client:
        answer = finish(client, EXPORT_NORMALS, OfMachine(machine=machine))
        size = fetched(client, answer.file, file)
    lines = [f"{file}: {counted(answer.normals, 'normal')}, {size} bytes"]
    tell(answer.model_dump(mode="json", exclude={"file"}), lines, as_json=as_json)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@machine_option
@json_option
def import_(*, file: Path, settings: Settings, machine: str, as_json: bool) -> None:
    """Take in the normals of an exported FILE and build the next generation."""
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.node.operations import IMPORT_NORMALS

    with file.open("rb") as content, open_node(settings) as client, sent(client, content) as file_id:
        answer = finish(client, IMPORT_NORMALS, IMPORT_NORMALS.request(machine=machine, file=file_id))
    done = f"{machine}: {counted(answer.normals, 'normal')}; generation {answer.generation} is active"
    tell(answer, [done, answer.calibration], as_json=as_json)
