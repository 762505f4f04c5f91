"""`edge-monitor explain`: how an alarm's sound, or a recording's, differs from the machine's normal ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edge_monitor.cli.options import complete_machines, config_option, json_option

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_monitor.api.client import NodeClient
    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.node.explanations import AlarmExplained, Explained, ExplainProgress, Method, SoundExplained

T = TypeVar("T")

METHODS = ("measured", "text-decoder", "zero-shot", "combination", "measured-worded", "auto")
_SOUNDS = (".flac", ".wav")


@dataclass(frozen=True, slots=True)
class _ExplainedWindow:
    """The window of a file with the highest score, and its explanation."""

    path: Path
    start_s: float
    level_dbfs: float
    explained: SoundExplained


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
    *,
    what: str,
    config_path: Path,
    machine: str | None,
    channel: int,
    method: Method | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say how a sound differs from its nearest normal sounds.

    ALARM_ID (its first characters are enough): the explanations it has; with --method another one, by hand.
    FILE: its window with the highest score is explained, by an LLM too if one is configured. Nothing is published.
    Methods: measured asks no LLM; the others have the captions, the similarities, both, or the figures put into words.
    """
    from edge_monitor.api.client import open_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.errors import ExplainError
    from edge_monitor.node.explanations import ExplainAlarm
    from edge_monitor.node.operations import EXPLAIN_ALARM

    if dry_run and method == "measured":
        raise click.UsageError("measured asks no LLM; leave --dry-run out")
    if not what.strip():
        raise ExplainError("neither an alarm nor a file is named")
    settings = load_settings(config_path)
    path = Path(what)
    result: AlarmExplained | _ExplainedWindow
    with open_node(settings) as client:
        if machine is not None or path.exists() or path.suffix.lower() in _SOUNDS:
            result = _explain_file(client, settings, path, machine, channel, method=method, dry_run=dry_run)
        else:
            request = ExplainAlarm(alarm_id=what, method=method, dry_run=dry_run)
            result = _told(client.follow(EXPLAIN_ALARM, request))
    explained = result.explained if isinstance(result, _ExplainedWindow) else result
    if as_json:
        click.echo(_as_json(result))
    elif dry_run:
        click.echo(explained.prompt)
    else:
        _show(result)
    if explained.failure:
        click.echo(f"edge-monitor: {explained.failure}", err=True)
        raise SystemExit(1)


def _explain_file(
    client: NodeClient,
    settings: Settings,
    path: Path,
    machine: str | None,
    channel: int,
    *,
    method: Method | None,
    dry_run: bool,
) -> _ExplainedWindow:
    """Encode a file here, have each window scored, and ask for the highest one's explanation."""
    from edge_monitor.cli.sent import sent
    from edge_monitor.cli.window_scores import window_scores
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.errors import AudioError, ExplainError
    from edge_monitor.node.clips import encode_clip
    from edge_monitor.node.explanations import ExplainSound
    from edge_monitor.node.node import Node
    from edge_monitor.node.operations import EXPLAIN_SOUND
    from edge_monitor.node.vectors import as_npy

    node = Node(settings)
    machine = machine or _only_machine(settings)
    node.machine(machine)
    if path.is_dir():
        raise AudioError("is a folder; explain one file of it", where=str(path))
    encoder = Encoder(node.bundle, settings.model.threads)
    clip = encode_clip(path, encoder, channel, settings.model.hop_s)
    if not clip.windows:
        raise AudioError(f"cannot be explained: {clip.faults[0].detail}", where=str(path))
    scored = window_scores(client, machine, [window.vector for window in clip.windows], encoder.bundle_hash)
    scores = [each.score for each in scored]
    window = clip.windows[scores.index(max(scores))]
    acoustics = None
    try:
        acoustics = _measure(path, encoder, channel, window.start_s)
    except ExplainError as error:
        error.where = str(path)
        if method in {"measured", "measured-worded"}:
            raise
        click.echo(f"edge-monitor: {error}", err=True)
    with sent(client, as_npy([window.vector])) as vector:
        request = ExplainSound(
            machine=machine,
            vector=vector,
            acoustics=acoustics,
            bundle_hash=encoder.bundle_hash,
            method=method,
            dry_run=dry_run,
        )
        explained = _told(client.follow(EXPLAIN_SOUND, request))
    return _ExplainedWindow(path, window.start_s, window.level_dbfs, explained)


def _measure(path: Path, encoder: Encoder, channel: int, start_s: float) -> Acoustics:
    """Return the acoustics of the window of a file that begins at `start_s`. Raises ExplainError."""
    from edge_monitor.capture.recording import read_clip
    from edge_monitor.capture.resampling import resample
    from edge_monitor.explain.acoustics import measure

    samples, rate_hz = read_clip(path, channel)
    heard = resample(samples, rate_hz, encoder.sample_rate_hz)
    start = round(start_s * encoder.sample_rate_hz)
    window = heard[start : start + round(encoder.window_s * encoder.sample_rate_hz)]
    return measure(window, encoder.sample_rate_hz)


def _only_machine(settings: Settings) -> str:
    names = [machine.name for machine in settings.machine]
    if len(names) > 1:
        raise click.UsageError(f"a FILE needs --machine: the configuration has {', '.join(names)}")
    return names[0]


def _told(steps: Generator[ExplainProgress, None, T]) -> T:
    """Return the answer; what is said on the way to it goes to standard error."""
    while True:
        try:
            click.echo(next(steps).text, err=True)
        except StopIteration as end:
            answer: T = end.value
            return answer


def _as_json(result: AlarmExplained | _ExplainedWindow) -> str:
    from edge_monitor.cli.answers import as_json

    if not isinstance(result, _ExplainedWindow):
        return as_json(result)
    about = {"file": str(result.path), "start_s": result.start_s, "level_dbfs": result.level_dbfs}
    return json.dumps(about | result.explained.model_dump(mode="json", exclude_unset=True))


def _show(result: AlarmExplained | _ExplainedWindow) -> None:
    from edge_monitor.cli.explanation import print_explanation, print_findings, print_texts, print_worded

    known: set[str | None] = set()
    explained: Explained
    if isinstance(result, _ExplainedWindow):
        explained = sound = result.explained
        verdict = "ANOMALOUS" if sound.score > sound.threshold else "normal"
        click.echo(
            f"{result.path} at {result.start_s:.0f} s: {verdict}"
            f"  score {sound.score:.3g} = {sound.ratio:.2f} of the threshold"
        )
        for neighbour in sound.neighbours:
            click.echo(
                f"  nearest normal: {neighbour.recording} at {neighbour.recording_start_s:.0f} s,"
                f" distance {neighbour.distance:.4g}"
            )
    else:
        explained = result
        click.echo(f"alarm {result.alarm_id} of {result.machine}")
        for each in result.explanations:
            print_explanation(each)
            known.add(each.text)
        if not result.explanations:
            click.echo("  it has no explanation")
    if explained.text is None:
        click.echo(f"\nno measured difference: {explained.reason}")
    elif explained.text not in known:
        click.echo(f"\n{explained.text}")
    print_findings(explained.findings)
    print_texts(explained)
    if explained.worded:
        print_worded(explained.worded)
