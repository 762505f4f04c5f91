"""`edge-monitor score`: recordings against a machine's normals."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import config_option, json_option, machine_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.node.clips import Clip
    from edge_monitor.node.scoring import WindowScore


@click.command("score")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@config_option
@machine_option
@click.option("--pattern", default="*", show_default=True, help="Which files of a folder.")
@click.option("--channel", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the files, from 1.")
@json_option
def command(
    *, files: tuple[Path, ...], config_path: Path, machine: str, pattern: str, channel: int, as_json: bool
) -> None:
    """Score FILES (or folders of them) against what a machine was enrolled with; changes nothing.

    A file's score is the mean over its windows. With --json: one JSON object a line, a line a file.
    """
    from edge_monitor.api.client import open_node
    from edge_monitor.cli.clips import find_files
    from edge_monitor.cli.window_scores import window_scores
    from edge_monitor.config.file import load_settings
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.errors import AudioError
    from edge_monitor.node.clips import encode_clip
    from edge_monitor.node.node import Node

    settings = load_settings(config_path)
    node = Node(settings)
    node.machine(machine)
    found = find_files(files, pattern)
    encoder = Encoder(node.bundle, settings.model.threads)
    failed = anomalous = 0
    used = None
    with open_node(settings) as client:
        for path in found:
            try:
                clip = encode_clip(path, encoder, channel, settings.model.hop_s)
            except AudioError as error:
                click.echo(f"edge-monitor: {error}", err=True)
                failed += 1
                continue
            if not clip.windows:
                click.echo(f"edge-monitor: {path}: cannot be scored: {clip.faults[0].detail}", err=True)
                failed += 1
                continue
            vectors = [window.vector for window in clip.windows]
            summary = _summary(clip, window_scores(client, machine, vectors, encoder.bundle_hash))
            anomalous += summary["anomalous"]
            used = summary["scorer"]
            _show(summary, as_json=as_json)
    if not as_json and len(found) > 1:
        click.echo(f"{anomalous} of {len(found) - failed} files are anomalous")
    if text := node.another_scorer(machine, used):
        click.echo(text, err=True)
    if failed:
        raise SystemExit(1)


def _summary(clip: Clip, scores: Sequence[WindowScore]) -> dict[str, Any]:
    score = sum(each.score for each in scores) / len(scores)
    worst = max(scores, key=lambda each: each.score)
    return {
        "file": str(clip.path),
        "score": score,
        "threshold": worst.threshold,
        "ratio": score / worst.threshold,
        "anomalous": score > worst.threshold,
        "windows": len(scores),
        "windows_above": sum(each.score > worst.threshold for each in scores),
        "windows_faulty": len(clip.faults),
        "generation": worst.generation,
        "scorer": worst.scorer,
        "neighbours": [asdict(each) for each in worst.neighbours],
    }


def _show(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
        return
    verdict = "ANOMALOUS" if summary["anomalous"] else "normal"
    nearest = summary["neighbours"][0]
    click.echo(
        f"{summary['file']}: {verdict}  score {summary['score']:.3g} ({summary['scorer']})"
        f" = {summary['ratio']:.2f} of the threshold"
        f"  nearest: {nearest['recording']} at {nearest['recording_start_s']:.0f} s"
    )
