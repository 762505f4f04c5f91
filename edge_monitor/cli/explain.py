"""`edge-monitor explain`: how an alarm's sound, or a recording's, differs from the machine's normal ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import say, sent, tell, warn, window_scores
from edge_monitor.cli.explanation import difference_lines, neighbour_lines, stored_line
from edge_monitor.cli.options import complete_machines, json_option, settings_option
from edge_monitor.errors import AudioError, ExplainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.api.client import NodeClient
    from edge_monitor.config.settings import Settings
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.node.explanations import AlarmExplained, ExplainProgress, Method, SoundExplained

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
@settings_option
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
    settings: Settings,
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
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.node.operations import EXPLAIN_ALARM

    if dry_run and method == "measured":
        raise click.UsageError("measured asks no LLM; leave --dry-run out")
    if not what.strip():
        raise ExplainError("neither an alarm nor a file is named")
    path = Path(what)
    result: AlarmExplained | _ExplainedWindow
    with open_node(settings) as client:
        if machine is not None or path.exists() or path.suffix.lower() in _SOUNDS:
            result = _explain_file(client, settings, path, machine, channel, method=method, dry_run=dry_run)
        else:
            request = EXPLAIN_ALARM.request(alarm_id=what, method=method, dry_run=dry_run)
            result = finish(client, EXPLAIN_ALARM, request, _tell_progress)
    explained = result.explained if isinstance(result, _ExplainedWindow) else result
    tell(_answer(result), [explained.prompt or ""] if dry_run else _lines(result), as_json=as_json)
    if explained.failure:
        warn(explained.failure)
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
    from edge_monitor.api.client import finish
    from edge_monitor.cli.clips import require_windows
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.node.clips import encode_clip
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
    require_windows(clip, "cannot be explained")
    scored = window_scores(client, machine, [window.vector for window in clip.windows], encoder.bundle_hash)
    scores = [each.score for each in scored.scores]
    window = clip.windows[scores.index(max(scores))]
    acoustics = None
    try:
        acoustics = _measure(path, encoder, channel, window.start_s)
    except ExplainError as error:
        error.where = str(path)
        if method in {"measured", "measured-worded"}:
            raise
        warn(str(error))
    with sent(client, as_npy([window.vector])) as vector:
        request = EXPLAIN_SOUND.request(
            machine=machine,
            vector=vector,
            acoustics=acoustics,
            bundle_hash=encoder.bundle_hash,
            method=method,
            dry_run=dry_run,
        )
        explained = finish(client, EXPLAIN_SOUND, request, _tell_progress)
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


def _tell_progress(progress: ExplainProgress) -> None:
    say(progress.text)


def _answer(result: AlarmExplained | _ExplainedWindow) -> object:
    if not isinstance(result, _ExplainedWindow):
        return result
    about = {"file": str(result.path), "start_s": result.start_s, "level_dbfs": result.level_dbfs}
    return about | result.explained.model_dump(mode="json", exclude_unset=True)


def _lines(result: AlarmExplained | _ExplainedWindow) -> Iterator[str]:
    if isinstance(result, _ExplainedWindow):
        sound = result.explained
        verdict = "ANOMALOUS" if sound.score > sound.threshold else "normal"
        score = f"score {sound.score:.3g} = {sound.ratio:.2f} of the threshold"
        yield f"{result.path} at {result.start_s:.0f} s: {verdict}  {score}"
        yield from neighbour_lines(sound.neighbours)
        yield from difference_lines(sound)
        return
    yield f"alarm {result.alarm_id} of {result.machine}"
    yield from map(stored_line, result.explanations)
    if not result.explanations:
        yield "  it has no explanation"
    yield from difference_lines(result, {each.text for each in result.explanations})
