"""`edge-monitor normals`: what a machine's memory is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edge_monitor.cli.answers import listed, summed_up
from edge_monitor.cli.options import config_option, dry_run_option, json_option, machine_option
from edge_monitor.counting import counted


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

    recordings = listed(config_path, "normals.list", machine=machine)
    if as_json:
        click.echo(json.dumps(recordings))
        return
    if not recordings:
        click.echo(f"{machine}: no normal sound yet. `edge-monitor enroll` takes it in.")
    for session, parts in _sessions(recordings):
        first, last = parts[0]["id"], parts[-1]["id"]
        removed = sum(part["removed"] for part in parts)
        normals = counted(sum(part["normals"] for part in parts), "normal")
        click.echo(
            f"{f'#{first}' if first == last else f'#{first}-#{last}'}  {session}"
            f"  {sum(part['seconds'] for part in parts):.0f} s  {normals}"
            f"{f'  ({removed} removed)' if removed else ''}  added {rfc3339(parts[0]['added_ms'])}"
        )


def _sessions(recordings: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return recordings by name, the parts of a live session together."""
    sessions: dict[str, list[dict[str, Any]]] = {}
    for recording in recordings:
        session = recording["name"].partition(" part ")[0] if recording["name"].startswith("live ") else None
        sessions.setdefault(session or f"{recording['name']}\0{recording['id']}", []).append(recording)
    return [(name.partition("\0")[0], parts) for name, parts in sessions.items()]


@command.command("remove")
@click.argument("recordings", nargs=-1, required=True)
@config_option
@machine_option
@dry_run_option
@json_option
def remove(*, recordings: tuple[str, ...], config_path: Path, machine: str, dry_run: bool, as_json: bool) -> None:
    """Take RECORDINGS (names, live sessions or #numbers of `normals list`) out of use; `normals restore` undoes it."""
    _change("normals.remove", recordings, config_path, machine, dry_run=dry_run, as_json=as_json)


@command.command("restore")
@click.argument("recordings", nargs=-1, required=True)
@config_option
@machine_option
@dry_run_option
@json_option
def restore(*, recordings: tuple[str, ...], config_path: Path, machine: str, dry_run: bool, as_json: bool) -> None:
    """Take removed RECORDINGS into use again."""
    _change("normals.restore", recordings, config_path, machine, dry_run=dry_run, as_json=as_json)


def _change(
    verb: str, recordings: tuple[str, ...], config_path: Path, machine: str, *, dry_run: bool, as_json: bool
) -> None:
    answer = summed_up(config_path, verb, machine=machine, recordings=list(recordings), dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(answer))
        return
    done = "would change" if dry_run else "changed"
    generation = f"; generation {answer['generation']} is active" if answer["generation"] else ""
    click.echo(f"{done} {counted(answer['normals'], 'normal')}, {answer['left']} in use{generation}")


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@machine_option
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
def export(*, file: Path, config_path: Path, machine: str, force: bool, as_json: bool) -> None:
    """Write a machine's normals into one portable FILE, for another box with the same bundle."""
    from edge_monitor.errors import StorageError
    from edge_monitor.node.wire import unpack_bytes

    if file.exists() and not force:
        raise StorageError("exists already", where=str(file), hint="--force overwrites it")
    answer = summed_up(config_path, "normals.export", machine=machine)
    content = unpack_bytes(answer.pop("content"))
    try:
        file.write_bytes(content)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(file)) from error
    click.echo(
        json.dumps(answer) if as_json else f"{file}: {counted(answer['normals'], 'normal')}, {len(content)} bytes"
    )


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@machine_option
@json_option
def import_(*, file: Path, config_path: Path, machine: str, as_json: bool) -> None:
    """Take in the normals of an exported FILE and build the next generation."""
    from edge_monitor.node.wire import pack_bytes

    answer = summed_up(config_path, "normals.import", machine=machine, content=pack_bytes(file.read_bytes()))
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(f"{machine}: {counted(answer['normals'], 'normal')}; generation {answer['generation']} is active")
    click.echo(answer["calibration"])
