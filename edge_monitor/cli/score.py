"""`edge-monitor score`: recordings against a machine's normals."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.answers import tell, warn, window_scores
from edge_monitor.cli.options import channel_option, json_option, machine_option, pattern_option
from edge_monitor.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.node.clips import Clip
    from edge_monitor.node.scoring import WindowScore


@click.command("score")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@machine_option
@pattern_option
@channel_option
@json_option
def command(
    *, files: tuple[Path, ...], settings: Settings, machine: str, pattern: str, channel: int, as_json: bool
) -> None:
    """Score FILES (or folders of them) against what a machine was enrolled with; changes nothing.

    A file's score is the mean over its windows. With --json: one JSON object a line, a line a file.
    """
    from edge_monitor.api.client import open_node
    from edge_monitor.cli.clips import find_files, require_windows
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.node.clips import encode_clip
    from edge_monitor.node.node import Node

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
                require_windows(clip, "cannot be scored")
            except AudioError as error:
                warn(str(error))
                failed += 1
                continue
            vectors = [window.vector for window in clip.windows]
            answer = window_scores(client, machine, vectors, encoder.bundle_hash)
            summary = _summary(clip, answer.scores)
            if summary["anomalous"] and (told := _another_rate(clip, channel, encoder, answer.learnt_hz)):
                warn(f"{path}: cannot be scored: {told}")
                failed += 1
                continue
            anomalous += summary["anomalous"]
            used = summary["scorer"]
            tell(summary, [_line(summary)], as_json=as_json)
    if not as_json and len(found) > 1:
        click.echo(f"{anomalous} of {len(found) - failed} files are anomalous")
    if text := node.another_scorer(machine, used):
        click.echo(text, err=True)
    if failed:
        raise SystemExit(1)


def _another_rate(clip: Clip, channel: int, encoder: Encoder, learnt_hz: float | None) -> str | None:
    """Return in words that a clip is of another sample rate than what is enrolled; None: it is not."""
    from edge_monitor.capture.recording import read_clip
    from edge_monitor.capture.resampling import resample
    from edge_monitor.node.bandwidth import another_rate, highest_hz

    samples = resample(*read_clip(clip.path, channel), encoder.sample_rate_hz)
    return another_rate(highest_hz(samples, encoder.sample_rate_hz), learnt_hz)


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


def _line(summary: dict[str, Any]) -> str:
    verdict = "ANOMALOUS" if summary["anomalous"] else "normal"
    nearest = summary["neighbours"][0]
    score = f"score {summary['score']:.3g} ({summary['scorer']}) = {summary['ratio']:.2f} of the threshold"
    place = f"{nearest['recording']} at {nearest['recording_start_s']:.0f} s"
    return f"{summary['file']}: {verdict}  {score}  nearest: {place}"
