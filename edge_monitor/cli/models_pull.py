"""`edge-monitor models pull|export|quantize`: bundles from published weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import say, tell
from edge_monitor.cli.options import json_option, optional_settings
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from edge_monitor.encode.bundle import Bundle

_PATH = click.Path(path_type=Path)
STATE_DIR_OPTION = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The node's state directory; default: the configuration's.",
)
_OUT = click.option("--out", type=_PATH, help="Folder to write the bundle into; default: {state_dir}/models/NAME.")


def _require_words(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(text.strip() for text in texts):
        raise click.BadParameter("an empty text")
    return texts


_TEXT = click.option(
    "--text",
    "texts",
    multiple=True,
    callback=_require_words,
    help="A text to compare sounds with, beside the paper's eight.",
)


@click.command("pull")
@click.argument("name")
@STATE_DIR_OPTION
@_OUT
@click.option("--from-file", nargs=2, type=_PATH, metavar="CLAP.pth CLAPCAP.pth", help="Local copies; no network.")
@_TEXT
@click.option("--keep-downloads", is_flag=True, help="Do not delete the checkpoints when the bundle is built.")
@click.option("--remove-environment", is_flag=True, help="Delete the environment with torch afterwards.")
def pull_command(
    name: str,
    state_dir: Path | None,
    out: Path | None,
    from_file: tuple[Path, Path] | None,
    texts: tuple[str, ...],
    *,
    keep_downloads: bool,
    remove_environment: bool,
) -> None:
    """Build bundle NAME from its published weights: download, check, convert, compare, install."""
    from edge_monitor.export import environment
    from edge_monitor.export.place import alone, require_free, require_space
    from edge_monitor.export.pull import BUNDLE_BYTES, is_built, located, origin_files, pull, tidy_up

    recipe, target = _recipe_and_target(name, state_dir, out)
    # What would fail at once is said before minutes are spent on an environment.
    require_free(target, recipe.name, recipe.manifest.get)
    if from_file:
        located(recipe, *from_file)
    _make_state_dir(state_dir, out)
    folder, code = target.parent / ".export-environment", 0
    with alone(target):
        there = from_file is None and is_built(recipe, target, texts)
        if there and not keep_downloads:
            tidy_up(target)
    if there:
        say("it is there already and whole; remove the folder to have it built anew")
    elif environment.this_one_fits():
        pull(recipe, target, from_file=from_file or None, texts=texts, keep_downloads=keep_downloads, say=say)
    else:
        if not environment.is_made(folder):
            downloads = 0 if from_file else sum(file.size_bytes or 0 for file in origin_files(recipe))
            require_space(target, environment.SIZE_BYTES + BUNDLE_BYTES + downloads)
            with alone(target):
                environment.make(folder, say)
        code = environment.run_export(folder, _arguments(recipe, target, from_file, texts, keep_downloads))
    if remove_environment:
        with alone(target):
            environment.remove(folder)
    if code:
        raise click.exceptions.Exit(code)
    _conclude(target)


@click.command("export")
@click.argument("name")
@click.argument("checkpoints", nargs=2, type=_PATH, metavar="CLAP.pth CLAPCAP.pth")
@STATE_DIR_OPTION
@_OUT
@_TEXT
def export_command(
    name: str, checkpoints: tuple[Path, Path], state_dir: Path | None, out: Path | None, texts: tuple[str, ...]
) -> None:
    """Convert local checkpoints to bundle NAME in this very environment, which must have torch and msclap.

    GPT-2's vocab.json and merges.txt lie beside the first.
    """
    from edge_monitor.export import environment
    from edge_monitor.export.pull import pull

    recipe, target = _recipe_and_target(name, state_dir, out)
    if not environment.this_one_fits():
        raise BundleError("torch and msclap are missing here", hint=f"`edge-monitor models pull {name} --from-file …`")
    _make_state_dir(state_dir, out)
    pull(recipe, target, from_file=checkpoints, texts=texts, keep_downloads=True, say=say)
    _conclude(target)


@click.command("quantize")
@click.argument("name")
@STATE_DIR_OPTION
@_OUT
@json_option
def quantize_command(name: str, state_dir: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Write NAME-int8, an 8-bit variant of bundle NAME, measure both on this box and say which to take."""
    from dataclasses import asdict

    from edge_monitor.encode.bundle import find_bundle
    from edge_monitor.export.quantization import SUFFIX, compare, quantize_bundle

    bundle = find_bundle(name, node_state_dir(state_dir))
    target = out or bundle.folder.with_name(bundle.folder.name + SUFFIX)
    variant = quantize_bundle(bundle, target.absolute(), say)
    found = compare(bundle, variant)
    lines = [
        f"{bundle.name:<24} {found.float_ms:7.1f} ms a window, {found.float_bytes / 1e6:6.0f} MB",
        f"{variant.name:<24} {found.int8_ms:7.1f} ms a window, {found.int8_bytes / 1e6:6.0f} MB",
        f"smallest cosine between their vectors {found.cosine:.5f}; one thread, this box",
        found.advice,
        f'{variant.folder}: bundle = "{variant.name}" in [model] takes it where bundles are looked for',
    ]
    answer = {**asdict(found), "folder": str(target), "advice": found.advice}
    tell(answer, lines, as_json=as_json, indent=2)


def _recipe_and_target(name: str, state_dir: Path | None, out: Path | None) -> tuple[Bundle, Path]:
    """Return the bundle to build, and where."""
    from edge_monitor.encode.bundle import find_bundle
    from edge_monitor.export.pull import origin_files

    node = node_state_dir(state_dir)
    recipe = find_bundle(name, node)
    origin_files(recipe)
    if out is None and node is None:
        raise BundleError("no place to build it in", where=recipe.name, hint="give --out FOLDER or --state-dir FOLDER")
    target = out or Path(node or ".") / "models" / recipe.name
    if target.name != recipe.name:
        raise BundleError(f"must be named {recipe.name!r}, as the bundle", where=str(target), hint="correct --out")
    return recipe, target.absolute()


def _make_state_dir(given: Path | None, out: Path | None) -> None:
    """Make the state directory that a bundle is built into, closed to others, if it is missing."""
    from edge_monitor.store.state_dir import make_state_dir

    node = node_state_dir(given)
    if out is not None or node is None:
        return
    try:
        make_state_dir(node)
    except OSError as error:
        raise BundleError(f"cannot be made: {error.strerror}", where=str(node), hint="choose another") from error


def node_state_dir(given: Path | None) -> Path | None:
    """Return the given state directory, the configuration's, or None when there is no configuration."""
    settings = None if given else optional_settings(None)
    return settings.node.state_dir if settings else given


def _arguments(
    recipe: Bundle, target: Path, from_file: tuple[Path, Path] | None, texts: tuple[str, ...], keep_downloads: bool
) -> list[str]:
    """Return what `python -m edge_monitor.export` is called with."""
    arguments = ["--recipe", str(recipe.folder.absolute()), "--out", str(target)]
    if from_file:
        arguments += ["--from-file", *(str(path.absolute()) for path in from_file)]
    for text in texts:
        arguments += ["--text", text]
    return [*arguments, "--keep-downloads"] if keep_downloads else arguments


def _conclude(target: Path) -> None:
    from edge_monitor.encode.bundle import open_bundle

    bundle = open_bundle(target)
    click.echo(f"{target}: {bundle.name} {bundle.manifest.version}, bundle hash {bundle.bundle_hash[:12]}…")
    click.echo(f"smaller and faster on most boxes: edge-monitor models quantize {target}/")
