"""`edge-monitor models`: list, verify, get and build model bundles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import tell, to_json
from edge_monitor.cli.models_pull import (
    STATE_DIR_OPTION,
    export_command,
    node_state_dir,
    pull_command,
    quantize_command,
)
from edge_monitor.cli.options import json_option
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.encode.bundle import Bundle, BundleListing


@click.group("models")
def command() -> None:
    """List, verify, get and build model bundles."""
    os.umask(0o022)  # a bundle holds no secret, and root may have built it for the daemon's user


for _command in (pull_command, export_command, quantize_command):
    command.add_command(_command)

_ABOUT = {"version", "abilities", "licence"}
_AUDIO = {"sample_rate_hz", "window_s", "dim"}


@command.command("list")
@STATE_DIR_OPTION
@json_option
def list_command(state_dir: Path | None, *, as_json: bool) -> None:
    """List the bundles that are installed, in search order, and say what is missing."""
    from edge_monitor.encode.bundle import list_bundles

    listings = list_bundles(node_state_dir(state_dir))
    tell([_facts(each) for each in listings], _lines(listings), as_json=as_json, indent=2)


def _lines(listings: Sequence[BundleListing]) -> Iterator[str]:
    if not listings:
        yield "no bundles found"
    for listing in listings:
        status = f"{listing.status.value}{', shadowed' if listing.shadowed else ''}"
        yield f"{listing.name:<20} {status:<18} {listing.folder}"
        if listing.bundle:
            manifest, audio = listing.bundle.manifest, listing.bundle.manifest.audio
            sound = f"{audio.sample_rate_hz} Hz, {audio.window_s:g} s, {audio.dim} dimensions"
            yield f"    {manifest.version}, {sound}, {', '.join(manifest.abilities)}, {manifest.licence}"
        if listing.detail:
            yield f"    {listing.detail}"


def _facts(listing: BundleListing) -> dict[str, object]:
    """Return what `models list` tells a program; where the bundle cannot be read, its facts are null."""
    facts: dict[str, object] = {
        "name": listing.name,
        "status": listing.status.value,
        "detail": listing.detail,
        "shadowed": listing.shadowed,
        "folder": str(listing.folder),
    }
    if listing.bundle is None:
        return facts | dict.fromkeys((*_ABOUT, *_AUDIO, "bundle_hash")) | {"abilities": []}
    facts |= listing.bundle.manifest.model_dump(include=_ABOUT)
    facts |= listing.bundle.manifest.audio.model_dump(include=_AUDIO)
    return facts | {"bundle_hash": listing.bundle.bundle_hash}


@command.command("verify")
@click.argument("name", required=False)
@STATE_DIR_OPTION
@json_option
def verify_command(name: str | None, state_dir: Path | None, *, as_json: bool) -> None:
    """Check sizes and SHA-256 of a bundle's files (NAME or a path with a slash), or of every bundle that is built."""
    from edge_monitor.encode.bundle import find_bundle, list_bundles

    if name is None:
        found = [each for each in list_bundles(node_state_dir(state_dir)) if not each.is_recipe]
        faults = [(each.name, each.folder, _fault(each.bundle) if each.bundle else each.detail) for each in found]
    else:
        named = find_bundle(name, node_state_dir(state_dir))
        faults = [(name, named.folder, _fault(named))]
    rows = [{"name": name, "folder": str(folder), "ok": not fault, "detail": fault} for name, folder, fault in faults]
    if as_json:
        click.echo(to_json(rows, indent=2))
    else:
        for row in rows:
            click.echo(f"{row['name']}: ok" if row["ok"] else f"{row['name']}: {row['detail']}", err=not row["ok"])
    if not all(row["ok"] for row in rows):
        raise click.exceptions.Exit(1)


def _fault(bundle: Bundle) -> str:
    """Return what is wrong with a bundle's files; empty when nothing is."""
    try:
        bundle.verify()
    except BundleError as error:
        return str(error)
    return ""


@command.group("build")
def build_group() -> None:
    """Build a bundle that this project makes itself."""


@build_group.command("spectral")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models/spectral"),
    show_default=True,
    help="Folder to write the bundle into.",
)
def build_spectral(out: Path) -> None:
    """Build the embedded default bundle."""
    from edge_monitor.encode.bundle import open_bundle
    from edge_monitor.export.spectral import build

    build().write(out)
    bundle = open_bundle(out)
    bundle.verify()
    click.echo(f"{out}: {bundle.name} {bundle.manifest.version}, bundle hash {bundle.bundle_hash[:12]}…")
