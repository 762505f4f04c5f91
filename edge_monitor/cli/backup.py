"""`edge-monitor backup`: what a node has learnt and how it is configured, in one file, while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.options import config_option, force_option, json_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.api.client import NodeClient
    from edge_monitor.node.backup_file import BackupWriter


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@click.option("--audio", "with_audio", is_flag=True, help="Also the sound kept with `enroll --keep-audio`.")
@force_option
@json_option
def command(*, file: Path, config_path: Path, with_audio: bool, force: bool, as_json: bool) -> None:
    """Write the whole database and the configuration into FILE, and verify it.

    Works while the daemon runs. Passwords that stand in the configuration are in FILE, too: only you can read it.
    Evidence pictures are not in it.
    """
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.errors import StorageError
    from edge_monitor.node.backup_file import CONFIG, DATABASE, write_backup
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import BACKUP_MEMORY

    settings = load_settings(config_path)
    if file.exists() and not force:
        raise StorageError("exists already", where=str(file), hint="--force overwrites it")
    configuration = config_path.read_bytes()
    with write_backup(file) as backup, open_node(settings) as client:
        backup.add(CONFIG, len(configuration), [configuration])
        snapshot = finish(client, BACKUP_MEMORY, Nothing())
        backup.add(DATABASE, snapshot.size, _fetched(client, snapshot.database))
        sounds = _add_sounds(client, backup) if with_audio else 0
        backup.finish(snapshot.manifest)
    manifest, unfit = snapshot.manifest, snapshot.unfit
    if unfit:
        click.echo(f"warning: a restore would refuse this backup: {unfit}", err=True)
    size = file.stat().st_size
    counts = {"alarms": manifest.alarms, "messages": manifest.messages, "sounds": sounds}
    lines = [f"{file}: {size / 1e6:.1f} MB, verified"]
    for name, about in manifest.machines.items():
        active = "not enrolled" if about.active is None else f"generation {about.active} of {about.generations}"
        lines.append(f"  {name}: {counted(about.normals, 'normal')}, {active}")
    lines.append(f"  {counted(manifest.alarms, 'alarm')}, {counted(manifest.messages, 'message')} for the plant")
    if with_audio:
        lines.append(f"  kept sound: {counted(sounds, 'recording')}")
    machines = {name: about.model_dump() for name, about in manifest.machines.items()}
    answer = {"file": str(file), "bytes": size, "machines": machines, **counts, "unfit": unfit}
    tell(answer, lines, as_json=as_json)


def _add_sounds(client: NodeClient, backup: BackupWriter) -> int:
    """Add the kept sound; return of how many recordings."""
    from edge_monitor.node.backup_file import audio_name
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import LIST_KEPT_SOUNDS, OPEN_KEPT_SOUND

    kept = client.call(LIST_KEPT_SOUNDS, Nothing()).sounds
    for each in kept:
        opened = client.call(OPEN_KEPT_SOUND, OPEN_KEPT_SOUND.request(machine=each.machine, sha256=each.sha256))
        backup.add(audio_name(each.machine, each.sha256), each.size, _fetched(client, opened.content))
    return len(kept)


def _fetched(client: NodeClient, file_id: str) -> Iterator[bytes]:
    """Yield a file's pieces, and let it go at the end."""
    yield from client.fetch(file_id)
    client.forget(file_id)
