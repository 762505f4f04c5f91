"""`edge-monitor restore`: takes a backup in, while the daemon runs or not."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import config_option, dry_run_option, json_option
from edge_monitor.service.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.service.backup_file import Backup
    from edge_monitor.service.client import Ask


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@click.option("--force", is_flag=True, help="Replace the normals that machines have already.")
@dry_run_option
@json_option
def command(*, file: Path, config_path: Path, force: bool, dry_run: bool, as_json: bool) -> None:
    """Take normals and generations of a backup FILE into use, all or nothing; a running daemon goes over to them.

    The configuration is written only where none is yet; one that is there stays.
    """
    from edge_monitor.config_file import load_settings
    from edge_monitor.service.backup_file import CONFIG, open_backup
    from edge_monitor.service.client import open_node

    with open_backup(file) as backup:
        configuration = b"".join(backup.read(CONFIG))
        answer: dict[str, Any] = {"file": str(file), "made": backup.manifest.made, "dry_run": dry_run}
        answer["configuration"] = "kept" if config_path.exists() else "written"
        if config_path.exists() and config_path.read_bytes() == configuration:
            answer["configuration"] = "same"
        with (
            _configuration(config_path, configuration, dry_run=dry_run) as path,
            open_node(load_settings(path)) as ask,
        ):
            answer["machines"] = _restore(backup, ask, force=force, dry_run=dry_run)
            known = [each for each in answer["machines"] if each["known"] and each["configured"]]
            answer["needs_force"] = bool(known) and not force
            if not dry_run:
                answer["sounds"] = _restore_audio(backup, ask)
    if as_json:
        click.echo(json.dumps(answer))
    else:
        _show(answer)


def _restore(backup: Backup, ask: Ask, *, force: bool, dry_run: bool) -> list[dict[str, Any]]:
    from edge_monitor.errors import StorageError
    from edge_monitor.service.backup_file import MEMORY
    from edge_monitor.service.operations.wire import pack_bytes

    manifest = backup.manifest
    machines = [
        {
            "machine": each["machine"],
            "configured": each["configured"],
            "normals": manifest.machines[each["machine"]].normals,
            "replaces": each["normals"],
            "known": bool(each["normals"] or each["generations"]),
            "generation": None,
        }
        for each in ask("restore.plan", machines=list(manifest.machines))
    ]
    for each in machines:
        if each["known"] and each["configured"] and not (force or dry_run):
            raise StorageError(f"has {counted(each['replaces'], 'normal')} already", where=each["machine"],
                               hint="--force replaces them, --dry-run shows what would be done")  # fmt: skip
    if dry_run:
        return machines
    sha256, offset = manifest.files[MEMORY].sha256, 0
    for part in backup.read(MEMORY):
        list(ask("restore.upload", sha256=sha256, content=pack_bytes(part), offset=offset))
        offset += len(part)
    numbers = {each["machine"]: each["generation"] for each in ask("restore.memory", sha256=sha256, force=force)}
    return [{**each, "generation": numbers.get(each["machine"])} for each in machines]


def _restore_audio(backup: Backup, ask: Ask) -> int:
    """Keep the backup's sound of configured machines; return how many recordings."""
    from edge_monitor.service.backup_file import audio_name
    from edge_monitor.service.operations.wire import pack_bytes

    configured = {each["machine"] for each in ask("restore.plan", machines=list(backup.manifest.machines))
                  if each["configured"]}  # fmt: skip
    count = 0
    for machine, sha256 in backup.audio:
        if machine not in configured:
            continue
        name, offset = audio_name(machine, sha256), 0
        size = backup.manifest.files[name].size
        for part in backup.read(name):
            last = offset + len(part) == size
            list(ask("normals.keep", machine=machine, sha256=sha256, content=pack_bytes(part), offset=offset,
                     last=last))  # fmt: skip
            offset += len(part)
        count += 1
    return count


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
    from edge_monitor.errors import StorageError

    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            with suppress(PermissionError):
                os.fchown(file.fileno(), -1, path.absolute().parent.stat().st_gid)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error


def _show(answer: dict[str, Any]) -> None:
    what = {
        "kept": "the configuration that is there differs, and stays (`tar -xf FILE edge-monitor.toml` gets the other)",
        "same": "the configuration is the same",
        "written": "there was no configuration: the backup's is used",
    }
    click.echo(f"{answer['file']}, made {answer['made']}: {what[answer['configuration']]}")
    if answer["dry_run"] and answer["needs_force"]:
        click.echo("only with --force, as there are normals already:")
    for each in answer["machines"]:
        if not each["configured"]:
            click.echo(f"  {each['machine']}: left out, it is not in the configuration")
            continue
        done = "would be restored" if answer["dry_run"] else "restored"
        replaced = f", in the place of {each['replaces']}" if each["replaces"] else ""
        generation = f"; generation {each['generation']} is active" if each["generation"] else ""
        click.echo(f"  {each['machine']}: {counted(each['normals'], 'normal')} {done}{replaced}{generation}")
