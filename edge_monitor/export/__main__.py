"""`python -m edge_monitor.export`: what `edge-monitor models pull` runs in the export environment."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.errors import EdgeMonitorError
from edge_monitor.export.pull import pull


@click.command()
@click.option("--recipe", type=click.Path(path_type=Path), required=True, help="Folder with the bundle's manifest.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write the bundle into.")
@click.option("--from-file", nargs=2, type=click.Path(path_type=Path), help="Encoder's and captioner's checkpoints.")
@click.option("--text", "texts", multiple=True, help="A text to embed beside the paper's eight.")
@click.option("--keep-downloads", is_flag=True, help="Leave the checkpoints where they were downloaded.")
def main(
    recipe: Path, out: Path, from_file: tuple[Path, Path] | None, texts: tuple[str, ...], *, keep_downloads: bool
) -> None:
    """Build a bundle from published checkpoints."""
    try:
        pull(open_bundle(recipe), out, from_file=from_file, texts=texts, keep_downloads=keep_downloads, say=say)
    except EdgeMonitorError as error:
        click.echo(f"edge-monitor: {error}", err=True)
        sys.exit(error.exit_code)


def say(line: str) -> None:
    """Tell the user what is being done."""
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
