"""`edge-monitor restore`: puts a backup in the place of what a stopped node knows."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.options import config_option, dry_run_option, json_option
from edge_monitor.counting import counted
from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.node.node import Node
    from edge_monitor.node.restoring import Change


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@config_option
@click.option("--force", is_flag=True, help="Replace what the node knows already.")
@click.option("--discard-old", is_flag=True, help="Delete what restores have replaced; without FILE nothing else.")
@dry_run_option
@json_option
def command(
    *, file: Path | None, config_path: Path, force: bool, discard_old: bool, dry_run: bool, as_json: bool
) -> None:
    """Put the database of a backup FILE in the place of the node's, all or nothing. The daemon must not run.

    The one that is replaced is kept beside it. The configuration is written only where none is yet.
    """
    if file is None and (not discard_old or force or dry_run):
        raise click.UsageError("give a FILE, or --discard-old alone")
    answer: dict[str, Any] = {} if file is None else _answer(file, config_path, force=force, dry_run=dry_run)
    if discard_old and not dry_run:
        answer["discarded"] = _discard_old(config_path)
    tell(answer, _lines(answer), as_json=as_json)


def _answer(file: Path, config_path: Path, *, force: bool, dry_run: bool) -> dict[str, Any]:
    from edge_monitor.api.client import look_at_node, open_stopped
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.backup_file import CONFIG, open_backup
    from edge_monitor.node.restoring import Restoring

    with open_backup(file) as backup:
        configuration = b"".join(backup.read(CONFIG))
        answer: dict[str, Any] = {"file": str(file), "made": backup.manifest.made, "dry_run": dry_run}
        answer["configuration"] = "kept" if config_path.exists() else "written"
        if config_path.exists() and config_path.read_bytes() == configuration:
            answer["configuration"] = "same"
        with _configuration(config_path, configuration, dry_run=dry_run) as path:
            settings = load_settings(path)
            # What would be done can be said while a daemon runs.
            opened = look_at_node(settings) if dry_run else open_stopped(settings)
            with opened as node, closing(Restoring(node, backup)) as restoring:
                change = restoring.change()
                if dry_run:
                    return answer | asdict(change)
                if change.needs_force and not force:
                    raise _would_replace(change, node)
                done = restoring.apply(change)
    carried = None if done.carried is None else asdict(done.carried)
    restored = {"carried_over": carried, "kept_as": done.kept_as, "sounds": done.sounds}
    return answer | asdict(done.change) | restored


def _would_replace(change: Change, node: Node) -> StorageError:
    normals = sum(each.now.normals for each in change.machines)
    known = f"{counted(normals, 'normal')} and {counted(change.alarms_now, 'alarm')}"
    return StorageError(
        f"holds {known} already" if change.readable else "cannot be read",
        where=str(node.state_dir.database),
        hint="--force replaces it and keeps it beside, --dry-run shows what would be done",
    )


def _discard_old(config_path: Path) -> list[str]:
    from edge_monitor.api.client import look_at_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.store.database_files import discard_kept

    with look_at_node(load_settings(config_path)) as node:
        return discard_kept(node.state_dir.database)


@contextmanager
def _configuration(path: Path, content: bytes, *, dry_run: bool) -> Iterator[Path]:
    """Yield the configuration to work with; the backup's takes its place at the end when none is there yet."""
    if path.exists():
        yield path
        return
    fresh = path.with_name(f"{path.name}.restored")  # beside it: relative paths mean the folder
    _write_configuration(fresh, content)
    try:
        yield fresh
        if not dry_run:
            fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)


def _write_configuration(path: Path, content: bytes) -> None:
    """Write it for its owner and the folder's group, which is the service's where it was installed."""
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            with suppress(PermissionError):
                os.fchown(file.fileno(), -1, path.absolute().parent.stat().st_gid)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    if "file" in answer:
        yield from _restored_lines(answer)
    for name in answer.get("discarded", ()):
        yield f"deleted: {name}"
    if answer.get("discarded") == []:
        yield "nothing that a restore replaced is left"


def _restored_lines(answer: dict[str, Any]) -> Iterator[str]:
    what = {
        "kept": "the configuration that is there differs, and stays (`tar -xf FILE edge-monitor.toml` gets the other)",
        "same": "the configuration is the same",
        "written": "there was no configuration: the backup's is used",
    }
    yield f"{answer['file']}, made {answer['made']}: {what[answer['configuration']]}"
    if answer["dry_run"] and answer["needs_force"]:
        yield "only with --force, as there is something to replace:"
    would = "would be " if answer["dry_run"] else ""
    for each in answer["machines"]:
        yield f"  {each['machine']}: {_machine_line(each, would)}"
    alarms = f"{counted(answer['alarms_restored'], 'alarm')} {would}restored"
    lost = f", {counted(answer['alarms_lost'], 'alarm')} that the backup does not know {would}set aside"
    yield f"  {alarms}{lost if answer['alarms_lost'] else ''}"
    if not answer["readable"]:
        yield "  the present database cannot be read: nothing of it goes over"
    if carried := answer.get("carried_over"):
        messages, ongoing = counted(carried["messages"], "message"), counted(carried["alarms"], "alarm")
        yield f"  taken over from the present database: {messages} for the plant, {ongoing}"
    if answer.get("kept_as"):
        yield f"  what was there is kept as {answer['kept_as']}; `edge-monitor restore --discard-old` deletes it"


def _machine_line(each: dict[str, Any], would: str) -> str:
    now, restored = each["now"], each["restored"]
    normals = f"{counted(restored['normals'], 'normal')} {would}restored"
    replaced = f", in the place of {now['normals']}" if now["normals"] else ""
    generation = (
        f"; generation {restored['active']} of {restored['generations']} is active" if restored["active"] else ""
    )
    unused = "" if each["configured"] else "; not in the configuration, so it is not listened to"
    return f"{normals}{replaced}{generation}{unused}"
