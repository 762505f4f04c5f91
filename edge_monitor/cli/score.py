"""`edge-monitor score`: recordings against a machine's normals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import config_option, json_option, machine_option

if TYPE_CHECKING:
    from edge_monitor.node.clips import Clip


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
    from edge_monitor.config.file import load_settings
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.errors import AudioError
    from edge_monitor.node.clips import encode_clip
    from edge_monitor.node.node import Node
    from edge_monitor.node.wire import pack_vector

    settings = load_settings(config_path)
    node = Node(settings)
    node.machine(machine)
    found = find_files(files, pattern)
    encoder = Encoder(node.bundle, settings.model.threads)
    failed = anomalous = 0
    used = None
    with open_node(settings) as ask:
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
            vectors = [pack_vector(window.vector) for window in clip.windows]
            answers = list(ask("score", machine=machine, vectors=vectors, bundle_hash=encoder.bundle_hash))
            summary = _summary(clip, answers)
            anomalous += summary["anomalous"]
            used = summary["scorer"]
            _show(summary, as_json=as_json)
    if not as_json and len(found) > 1:
        click.echo(f"{anomalous} of {len(found) - failed} files are anomalous")
    if text := node.another_scorer(machine, used):
        click.echo(text, err=True)
    if failed:
        raise SystemExit(1)


def _summary(clip: Clip, answers: list[dict[str, Any]]) -> dict[str, Any]:
    score = sum(answer["score"] for answer in answers) / len(answers)
    worst = max(answers, key=lambda answer: answer["score"])
    threshold = worst["threshold"]
    return {
        "file": str(clip.path),
        "score": score,
        "threshold": threshold,
        "ratio": score / threshold,
        "anomalous": score > threshold,
        "windows": len(answers),
        "windows_above": sum(answer["score"] > threshold for answer in answers),
        "windows_faulty": len(clip.faults),
        "generation": worst["generation"],
        "scorer": worst["scorer"],
        "neighbours": worst["neighbours"],
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
