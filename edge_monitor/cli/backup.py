"""`edge-monitor backup`: what a node has learnt and how it is configured, in one file, while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import config_option, json_option
from edge_monitor.counting import counted

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@click.option("--audio", "with_audio", is_flag=True, help="Also the sound kept with `enroll --keep-audio`.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
def command(*, file: Path, config_path: Path, with_audio: bool, force: bool, as_json: bool) -> None:
    """Write the whole database and the configuration into FILE, and verify it.

    Works while the daemon runs. Passwords that stand in the configuration are in FILE, too: only you can read it.
    Evidence pictures are not in it.
    """
    from edge_monitor.api.client import open_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.errors import StorageError
    from edge_monitor.node.backup_file import CONFIG, DATABASE, Manifest, audio_name, write_backup

    settings = load_settings(config_path)
    if file.exists() and not force:
        raise StorageError("exists already", where=str(file), hint="--force overwrites it")
    configuration = config_path.read_bytes()
    sounds = 0
    # The file is opened before the node: alone, root works as the state directory's owner from then on.
    with write_backup(file) as backup, open_node(settings) as ask:
        backup.add(CONFIG, len(configuration), [configuration])
        answer = ask("backup.memory")
        head = next(item for item in answer if "size" in item)  # before it, signs of life
        backup.add(DATABASE, head["size"], _contents(answer))
        for each in list(ask("backup.audio")) if with_audio else ():
            content = _contents(ask("backup.sound", machine=each["machine"], sha256=each["sha256"]))
            backup.add(audio_name(each["machine"], each["sha256"]), each["size"], content)
            sounds += 1
        manifest = Manifest.model_validate_json(head["manifest"])
        backup.finish(manifest)
    if head["unfit"]:
        click.echo(f"warning: a restore would refuse this backup: {head['unfit']}", err=True)
    machines = {name: about.model_dump() for name, about in manifest.machines.items()}
    size = file.stat().st_size
    if as_json:
        counts = {"alarms": manifest.alarms, "messages": manifest.messages, "sounds": sounds}
        click.echo(
            json.dumps({"file": str(file), "bytes": size, "machines": machines, **counts, "unfit": head["unfit"]})
        )
        return
    click.echo(f"{file}: {size / 1e6:.1f} MB, verified")
    for name, about in manifest.machines.items():
        active = "not enrolled" if about.active is None else f"generation {about.active} of {about.generations}"
        click.echo(f"  {name}: {counted(about.normals, 'normal')}, {active}")
    click.echo(f"  {counted(manifest.alarms, 'alarm')}, {counted(manifest.messages, 'message')} for the plant")
    if with_audio:
        click.echo(f"  kept sound: {counted(sounds, 'recording')}")


def _contents(answer: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    from edge_monitor.node.wire import unpack_bytes

    for item in answer:
        yield unpack_bytes(item["content"])
