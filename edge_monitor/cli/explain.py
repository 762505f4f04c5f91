"""`edge-monitor explain`: how an alarm's sound, or a recording's, differs from the machine's normal ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import complete_machines, config_option, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.api.client import Ask
    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.encoder import Encoder

METHODS = ("measured", "text-decoder", "zero-shot", "combination", "measured-worded", "auto")
_SOUNDS = (".flac", ".wav")


@click.command("explain")
@click.argument("what", metavar="ALARM_ID|FILE")
@config_option
@click.option(
    "--machine", shell_complete=complete_machines, help="Of a FILE; default: the only one of the configuration."
)
@click.option("--channel", type=click.IntRange(1, 256), default=1, show_default=True, help="Of a FILE, from 1.")
@click.option("--method", type=click.Choice(METHODS), help="Explain it this way, now.")
@click.option("--dry-run", is_flag=True, help="Print what the LLM would be asked, and ask nobody.")
@json_option
def command(
    *, what: str, config_path: Path, machine: str | None, channel: int, method: str | None, dry_run: bool, as_json: bool
) -> None:
    """Say how a sound differs from its nearest normal sounds.

    ALARM_ID (its first characters are enough): the explanations it has; with --method another one, by hand.
    FILE: its window with the highest score is explained, by an LLM too if one is configured. Nothing is published.
    Methods: measured asks no LLM; the others have the captions, the similarities, both, or the figures put into words.
    """
    from edge_monitor.api.client import open_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.errors import ExplainError

    if dry_run and method == "measured":
        raise click.UsageError("measured asks no LLM; leave --dry-run out")
    if not what.strip():
        raise ExplainError("neither an alarm nor a file is named")
    settings = load_settings(config_path)
    path = Path(what)
    with open_node(settings) as ask:
        if machine is not None or path.exists() or path.suffix.lower() in _SOUNDS:
            items = _explain_file(ask, settings, path, machine, channel, method=method, dry_run=dry_run)
        else:
            items = ask("explain.alarm", alarm_id=what, method=method, dry_run=dry_run)
        result = _last_told(items)
    if dry_run and not as_json:
        click.echo(result["prompt"])
    elif as_json:
        click.echo(json.dumps(result))
    else:
        _show(result)
    if result["failure"]:
        click.echo(f"edge-monitor: {result['failure']}", err=True)
        raise SystemExit(1)


def _explain_file(
    ask: Ask, settings: Settings, path: Path, machine: str | None, channel: int, *, method: str | None, dry_run: bool
) -> Iterator[dict[str, Any]]:
    """Encode a file here, have each window scored, and ask for the highest one's explanation."""
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.errors import AudioError, ExplainError
    from edge_monitor.node.clips import encode_clip
    from edge_monitor.node.node import Node
    from edge_monitor.node.wire import pack_vector

    node = Node(settings)
    machine = machine or _only_machine(settings)
    node.machine(machine)
    if path.is_dir():
        raise AudioError("is a folder; explain one file of it", where=str(path))
    encoder = Encoder(node.bundle, settings.model.threads)
    clip = encode_clip(path, encoder, channel, settings.model.hop_s)
    if not clip.windows:
        raise AudioError(f"cannot be explained: {clip.faults[0].detail}", where=str(path))
    vectors = [pack_vector(window.vector) for window in clip.windows]
    scores = list(ask("score", machine=machine, vectors=vectors, bundle_hash=encoder.bundle_hash))
    highest = max(range(len(scores)), key=lambda i: scores[i]["score"])
    window = clip.windows[highest]
    acoustics = None
    try:
        acoustics = _measure(path, encoder, channel, window.start_s)
    except ExplainError as error:
        error.where = str(path)
        if method in {"measured", "measured-worded"}:
            raise
        click.echo(f"edge-monitor: {error}", err=True)
    for item in ask(
        "explain.sound",
        machine=machine,
        vector=vectors[highest],
        acoustics=acoustics,
        bundle_hash=encoder.bundle_hash,
        method=method,
        dry_run=dry_run,
    ):
        yield {"file": str(path), "start_s": window.start_s, "level_dbfs": window.level_dbfs, **item}


def _measure(path: Path, encoder: Encoder, channel: int, start_s: float) -> str:
    """Return the acoustics of the window of a file that begins at `start_s`, JSON. Raises ExplainError."""
    from edge_monitor.capture.recording import read_clip
    from edge_monitor.capture.resampling import resample
    from edge_monitor.explain.acoustics import measure

    samples, rate_hz = read_clip(path, channel)
    heard = resample(samples, rate_hz, encoder.sample_rate_hz)
    start = round(start_s * encoder.sample_rate_hz)
    window = heard[start : start + round(encoder.window_s * encoder.sample_rate_hz)]
    return measure(window, encoder.sample_rate_hz).to_json()


def _only_machine(settings: Settings) -> str:
    names = [machine.name for machine in settings.machine]
    if len(names) > 1:
        raise click.UsageError(f"a FILE needs --machine: the configuration has {', '.join(names)}")
    return names[0]


def _last_told(items: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer; what is said on the way to it goes to standard error."""
    result: dict[str, Any] = {}
    for item in items:
        if "progress" in item:
            click.echo(item["progress"], err=True)
        else:
            result = item
    return result


def _show(result: dict[str, Any]) -> None:
    from edge_monitor.cli.explanation import print_explanation, print_findings, print_texts, print_worded

    if "file" in result:
        verdict = "ANOMALOUS" if result["score"] > result["threshold"] else "normal"
        click.echo(
            f"{result['file']} at {result['start_s']:.0f} s: {verdict}"
            f"  score {result['score']:.3g} = {result['ratio']:.2f} of the threshold"
        )
        for neighbour in result["neighbours"]:
            click.echo(
                f"  nearest normal: {neighbour['recording']} at {neighbour['recording_start_s']:.0f} s,"
                f" distance {neighbour['distance']:.4g}"
            )
    else:
        click.echo(f"alarm {result['alarm_id']} of {result['machine']}")
        for each in result["explanations"]:
            print_explanation(each)
        if not result["explanations"]:
            click.echo("  it has no explanation")
    if result["text"] is None:
        click.echo(f"\nno measured difference: {result['reason']}")
    elif result["text"] not in {each.get("text") for each in result.get("explanations", ())}:
        click.echo(f"\n{result['text']}")
    print_findings(result["findings"])
    print_texts(result)
    if result["worded"]:
        print_worded(result["worded"])
