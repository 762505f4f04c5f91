"""`edge-monitor caption`: a bundle's own words for recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import tell
from edge_monitor.cli.hearing import choose, hear, trial_options
from edge_monitor.cli.options import json_option

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.config.settings import Settings


@click.command("caption")
@trial_options
@click.option(
    "--begin",
    default="Sounds like",
    show_default=True,
    help="How each caption must begin; '' leaves it to the decoder.",
)
@json_option
def command(
    *,
    files: tuple[Path, ...],
    bundle_name: str | None,
    settings: Settings | None,
    pattern: str,
    channel: int,
    begin: str,
    as_json: bool,
) -> None:
    """Describe FILES (or folders of them) in words, window by window, for trying a bundle by hand.

    With --json: one JSON object a line, a line a window.
    """
    from edge_monitor.encode.captioner import TOGETHER, Captioner

    trial = choose(bundle_name, settings)
    captioner = Captioner(
        trial.bundle, threads=trial.model.threads, idle_s=trial.model.caption_idle_s, state_dir=trial.state_dir
    )
    for windows in hear(trial, files, pattern, channel, together=TOGETHER):
        captions = captioner.captions([window.embedding for window in windows], begin=begin)
        for window, caption in zip(windows, captions, strict=True):
            found = window.with_place(caption=caption.text, log_prob=caption.log_prob)
            tell(found, [f"{window.where}: {caption.text}"], as_json=as_json)
