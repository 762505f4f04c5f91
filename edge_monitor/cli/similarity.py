"""`edge-monitor similarity`: how much recordings have of what texts say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.hearing import choose, hear, trial_options
from edge_monitor.cli.options import json_option

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.config.settings import Settings


@click.command("similarity")
@trial_options
@click.option(
    "--texts",
    multiple=True,
    metavar="TEXT",
    help="Compare with this, not with the bundle's and the configuration's; may be repeated.",
)
@json_option
def command(
    *,
    files: tuple[Path, ...],
    bundle_name: str | None,
    settings: Settings | None,
    pattern: str,
    channel: int,
    texts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare FILES (or folders of them) with texts, window by window: cosines, 1 = alike, 0 = unrelated.

    With --json: one JSON object a line, a line a window.
    """
    from edge_monitor.encode.similarity import TextSimilarity

    trial = choose(bundle_name, settings)
    similarity = TextSimilarity(
        trial.bundle, texts or None, also=trial.model.texts, threads=trial.model.threads, state_dir=trial.state_dir
    )
    for (window,) in hear(trial, files, pattern, channel):
        found = dict(zip(similarity.texts, similarity.similarities(window.embedding), strict=True))
        lines = [window.where, *(f"  {value:+.3f}  {text}" for text, value in found.items())]
        tell(window.with_place(similarities=found), lines, as_json=as_json)
