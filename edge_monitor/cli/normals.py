"""`edge-monitor normals`: what a machine's memory is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import answered, echo_json, list_as_json
from edge_monitor.cli.options import config_option, dry_run_option, json_option, machine_option
from edge_monitor.cli.sent import sent
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.node.normals import ChangedRecordings, ChooseRecordings, EnrolledRecording
    from edge_monitor.node.operation import LongOperation, Nothing


@click.group("normals")
def command() -> None:
    """List, remove, restore, export or import a machine's normal sounds."""


@command.command("list")
@config_option
@machine_option
@json_option
def list_(*, config_path: Path, machine: str, as_json: bool) -> None:
    """List the recordings a machine was enrolled with."""
    from edge_monitor.clock import rfc3339
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import LIST_NORMALS

    recordings = answered(config_path, LIST_NORMALS, OfMachine(machine=machine)).recordings
    if as_json:
        click.echo(list_as_json(recordings))
        return
    if not recordings:
        click.echo(f"{machine}: no normal sound yet. `edge-monitor enroll` takes it in.")
    for session, parts in _sessions(recordings):
        first, last = parts[0].id, parts[-1].id
        removed = sum(part.removed for part in parts)
        normals = counted(sum(part.normals for part in parts), "normal")
        click.echo(
            f"{f'#{first}' if first == last else f'#{first}-#{last}'}  {session}"
            f"  {sum(part.seconds for part in parts):.0f} s  {normals}"
            f"{f'  ({removed} removed)' if removed else ''}  added {rfc3339(parts[0].added_ms)}"
        )


def _sessions(recordings: Sequence[EnrolledRecording]) -> list[tuple[str, list[EnrolledRecording]]]:
    """Return recordings by name, the parts of a live session together."""
    sessions: dict[str, list[EnrolledRecording]] = {}
    for recording in recordings:
        session = recording.name.partition(" part ")[0] if recording.name.startswith("live ") else None
        sessions.setdefault(session or f"{recording.name}\0{recording.id}", []).append(recording)
    return [(name.partition("\0")[0], parts) for name, parts in sessions.items()]


@command.command("remove")
@click.argument("recordings", nargs=-1, required=True)
@config_option
@machine_option
@dry_run_option
@json_option
def remove(*, recordings: tuple[str, ...], config_path: Path, machine: str, dry_run: bool, as_json: bool) -> None:
    """Take RECORDINGS (names, live sessions or #numbers of `normals list`) out of use; `normals restore` undoes it."""
    from edge_monitor.node.operations import REMOVE_NORMALS

    _change(REMOVE_NORMALS, recordings, config_path, machine, dry_run=dry_run, as_json=as_json)


@command.command("restore")
@click.argument("recordings", nargs=-1, required=True)
@config_option
@machine_option
@dry_run_option
@json_option
def restore(*, recordings: tuple[str, ...], config_path: Path, machine: str, dry_run: bool, as_json: bool) -> None:
    """Take removed RECORDINGS into use again."""
    from edge_monitor.node.operations import RESTORE_NORMALS

    _change(RESTORE_NORMALS, recordings, config_path, machine, dry_run=dry_run, as_json=as_json)


def _change(
    operation: LongOperation[ChooseRecordings, Nothing, ChangedRecordings],
    recordings: tuple[str, ...],
    config_path: Path,
    machine: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from edge_monitor.node.normals import ChooseRecordings

    request = ChooseRecordings(machine=machine, recordings=recordings, dry_run=dry_run)
    answer = answered(config_path, operation, request)
    if as_json:
        echo_json(answer)
        return
    done = "would change" if dry_run else "changed"
    generation = f"; generation {answer.generation} is active" if answer.generation else ""
    click.echo(f"{done} {counted(answer.normals, 'normal')}, {answer.left} in use{generation}")


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@machine_option
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
def export(*, file: Path, config_path: Path, machine: str, force: bool, as_json: bool) -> None:
    """Write a machine's normals into one portable FILE, for another box with the same bundle."""
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.cli.fetched import fetched
    from edge_monitor.config.file import load_settings
    from edge_monitor.errors import StorageError
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import EXPORT_NORMALS

    if file.exists() and not force:
        raise StorageError("exists already", where=str(file), hint="--force overwrites it")
    with open_node(load_settings(config_path)) as client:
        answer = finish(client, EXPORT_NORMALS, OfMachine(machine=machine))
        size = fetched(client, answer.file, file)
    if as_json:
        click.echo(answer.model_dump_json(exclude={"file"}))
    else:
        click.echo(f"{file}: {counted(answer.normals, 'normal')}, {size} bytes")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@machine_option
@json_option
def import_(*, file: Path, config_path: Path, machine: str, as_json: bool) -> None:
    """Take in the normals of an exported FILE and build the next generation."""
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.operations import IMPORT_NORMALS
    from edge_monitor.node.transfer import ImportNormals

    settings = load_settings(config_path)
    with file.open("rb") as content, open_node(settings) as client, sent(client, content) as file_id:
        answer = finish(client, IMPORT_NORMALS, ImportNormals(machine=machine, file=file_id))
    if as_json:
        echo_json(answer)
        return
    click.echo(f"{machine}: {counted(answer.normals, 'normal')}; generation {answer.generation} is active")
    click.echo(answer.calibration)
