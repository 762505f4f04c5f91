"""`edge-monitor support-bundle`: what somebody who helps from afar needs, in one file without secrets."""

from __future__ import annotations

import io
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.options import config_option, dry_run_option, json_option
from edge_monitor.errors import StorageError


@click.command("support-bundle")
@config_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: edge-monitor-support-TIME.tar.gz"
)
@dry_run_option
@json_option
def command(*, config_path: Path, out: Path | None, dry_run: bool, as_json: bool) -> None:
    """Collect settings, doctor's findings, status, log, versions and calibrations in a tar.gz, secrets struck out.

    No sound, no pictures, no messages: of evidence only names and sizes. Look into it before you send it.
    """
    from edge_monitor.doctor.all_checks import examine
    from edge_monitor.doctor.support_bundle import collect

    if not as_json:
        click.echo("looking at everything first, as `edge-monitor doctor` does", err=True)
    files = collect(config_path, examine(config_path))
    path = out or Path(f"edge-monitor-support-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    if not dry_run:
        _write(path, files)
    sizes = {name: len(content) for name, content in files.items()}
    lines = [f"{size:>9} bytes  {name}" for name, size in sizes.items()]
    done = "nothing was written" if dry_run else f"{path}: only you can read it; look into it before you send it"
    tell({"file": None if dry_run else str(path), "files": sizes}, [*lines, done], as_json=as_json)


def _write(path: Path, files: dict[str, bytes]) -> None:
    folder = path.name.removesuffix(".tar.gz")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
            for name, content in files.items():
                header = tarfile.TarInfo(f"{folder}/{name}")
                header.size, header.mode = len(content), 0o600
                tar.addfile(header, io.BytesIO(content))
    except FileExistsError as error:
        raise StorageError("exists already", where=str(path), hint="name another with --out") from error
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error
