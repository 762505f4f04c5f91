"""`edge-monitor enroll`: how a machine sounds when healthy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import config_option, json_option, machine_option

if TYPE_CHECKING:
    from edge_monitor.api.client import Ask
    from edge_monitor.console import Console
    from edge_monitor.node.clips import Clip
    from edge_monitor.node.node import Node

_PART_BYTES = 16 * 1024 * 1024  # of a kept sound in one request


@click.command("enroll")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@config_option
@machine_option
@click.option("--pattern", default="*", show_default=True, help="Which files of a folder, e.g. 'normal_id_02_*'.")
@click.option(
    "--live",
    "live_minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Enrol this much of the machine's live sound instead of files.",
)
@click.option("--channel", type=click.IntRange(1, 256), default=1, show_default=True, help="Of the files, from 1.")
@click.option(
    "--keep-audio",
    is_flag=True,
    help="Keep the sound on this box, so that another bundle can learn from it: see --re-embed.",
)
@click.option(
    "--re-embed",
    is_flag=True,
    help="After another bundle was configured: hear the kept sound with it, instead of FILES.",
)
@click.option("--anew", is_flag=True, help="Leave behind what was enrolled so far, with whatever bundle.")
@json_option
@click.option("--progress-json", is_flag=True, help="Tell progress on standard error in JSON lines, for programs.")
def command(
    *,
    files: tuple[Path, ...],
    config_path: Path,
    machine: str,
    pattern: str,
    live_minutes: float | None,
    channel: int,
    keep_audio: bool,
    re_embed: bool,
    anew: bool,
    as_json: bool,
    progress_json: bool,
) -> None:
    """Learn how a machine sounds when healthy, from FILES or folders of them, or from its live sound.

    Ten minutes are a beginning; a threshold you can trust needs every way the machine normally runs. What is enrolled
    adds to what was, and the daemon goes over to it by itself. Live, a window is passed over after each 30 s, so that
    the blocks are independent: ten minutes give 450 s of sound.
    """
    from edge_monitor.api.client import last, open_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.node import Node

    if bool(files) + bool(live_minutes) + re_embed != 1:
        raise click.UsageError("name recordings or folders of them, or give --live MINUTES, or --re-embed; one of them")
    if re_embed and (keep_audio or anew):
        raise click.UsageError("--re-embed goes with neither --keep-audio nor --anew")
    console = _console(as_json=as_json, progress_json=progress_json)
    settings = load_settings(config_path)
    node = Node(settings)
    node.machine(machine)
    node.bundle.check("audio")
    added = failed = 0
    with open_node(settings) as ask:
        if re_embed:
            added = _re_embed(ask, node, machine, console)  # which has built its generation
        else:
            chosen = _chosen(files, pattern) if files else []
            if anew:
                last(ask("normals.leave_behind", machine=machine, bundle_hash=node.bundle.bundle_hash))
            if live_minutes:
                added = _enroll_live(
                    ask,
                    machine,
                    live_minutes,
                    bundle_hash=node.bundle.bundle_hash,
                    keep_audio=keep_audio,
                    console=console,
                )
            else:
                added, failed = _enroll_files(
                    ask, node, machine, chosen, channel, keep_audio=keep_audio, console=console
                )
        active = [each for each in ask("generations.list", machine=machine) if each["active"]]
        in_use = sum(each["normals"] for each in ask("normals.list", machine=machine))
        stale = anew or not active or active[0]["normals"] != in_use
        stale = stale or bool(node.another_scorer(machine, active[0]["scorer"]))
        if not re_embed and (added or stale):
            active = [last(ask("generations.build", machine=machine, reason="enroll"))]
    if as_json:
        click.echo(json.dumps({**active[0], "added": added, "files_failed": failed}))
    elif added or stale:
        _show(active[0])
    else:
        click.echo(f"{machine}: nothing new; generation {active[0]['generation']} stays active.")
    if failed:
        click.echo(f"edge-monitor: {failed} of the files could not be enrolled, see above", err=True)
        raise SystemExit(1)


def _console(*, as_json: bool, progress_json: bool) -> Console:
    """Return what tells the progress: on standard error, so that the answer on standard output stays alone."""
    from edge_monitor.console import Console, JsonConsole, QuietConsole

    if progress_json:
        return JsonConsole(sys.stderr)
    return QuietConsole(sys.stderr) if as_json else Console.on(sys.stderr)


def _chosen(files: tuple[Path, ...], pattern: str) -> list[Path]:
    from edge_monitor.cli.clips import find_files, machine_ids
    from edge_monitor.errors import AudioError

    found = find_files(files, pattern)
    ids = sorted(machine_ids(found))
    if len(ids) > 1:
        raise AudioError(
            f"files of {len(ids)} machines in one call: {', '.join(ids)}",
            hint=f"one machine has one normal sound; choose with --pattern '*{ids[0]}*'",
        )
    anomalous = [file for file in found if file.name.startswith(("anomaly", "abnormal"))]
    if anomalous:
        raise AudioError(
            "the name says that this sound is not normal",
            where=str(anomalous[0]),
            hint="choose with --pattern 'normal*'",
        )
    return found


def _enroll_files(
    ask: Ask, node: Node, machine: str, files: list[Path], channel: int, *, keep_audio: bool, console: Console
) -> tuple[int, int]:
    """Enrol each file by itself, so that whatever happens meanwhile loses at most one.

    Return how many normals are new and how many files failed.
    """
    from edge_monitor.api.client import last
    from edge_monitor.console import Progress
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.errors import AudioError
    from edge_monitor.node.clips import encode_clip, sha256_of

    encoder = Encoder(node.bundle, node.settings.model.threads)
    added = failed = 0
    with console.progress() as show:
        for done, path in enumerate(files):
            show(Progress("Enrolling", done, len(files)))
            try:
                sha256 = sha256_of(path)
                known = last(ask("normals.known", machine=machine, sha256=[sha256], bundle_hash=encoder.bundle_hash))
                clip = None
                if not known["known"]:
                    clip = encode_clip(path, encoder, channel, encoder.window_s, measured=True)
                    _refuse_faulty(clip, console)
                if keep_audio and not known["kept"]:
                    _keep(ask, machine, path, channel, sha256)
            except AudioError as error:
                console.say(f"edge-monitor: {error}")
                failed += 1
                continue
            if clip:
                answer = last(ask("normals.add", machine=machine, bundle_hash=encoder.bundle_hash, **_request(clip)))
                added += answer["count"]
        show(Progress("Enrolling", len(files), len(files)))
    return added, failed


def _keep(ask: Ask, machine: str, path: Path, channel: int, sha256: str) -> None:
    """Hand a recording's channel over to be kept, in parts that fit into a request."""
    from edge_monitor.api.client import last
    from edge_monitor.capture.recording import read_clip
    from edge_monitor.node.kept_audio import as_flac
    from edge_monitor.node.wire import pack_bytes

    content = as_flac(*read_clip(path, channel))
    for offset in range(0, len(content), _PART_BYTES):
        part = content[offset : offset + _PART_BYTES]
        last(
            ask(
                "normals.keep",
                machine=machine,
                sha256=sha256,
                content=pack_bytes(part),
                offset=offset,
                last=offset + len(part) == len(content),
            )
        )


def _re_embed(ask: Ask, node: Node, machine: str, console: Console) -> int:
    """Have the kept sound heard again, and return how many normals the generation that came of it has."""
    from edge_monitor.console import Progress

    built: dict[str, Any] = {}
    with console.progress() as show:
        for item in ask("normals.reembed", machine=machine, bundle_hash=node.bundle.bundle_hash):
            built = item
            if "done" in item:
                show(Progress("Hearing again", item["done"], item["of"]))
                if item["left_out"]:
                    console.say(f"edge-monitor: {item['recording']}: left out: {item['left_out']}")
    return int(built["normals"])


def _refuse_faulty(clip: Clip, console: Console) -> None:
    from edge_monitor.errors import AudioError

    if not clip.windows:
        fault = clip.faults[0]
        raise AudioError(f"not the sound of a machine: {fault.detail}", where=str(clip.path))
    for fault in clip.faults:
        where = f"{clip.path}, {fault.start_s:.0f} s to {fault.end_s:.0f} s"
        console.say(f"edge-monitor: {where}: left out: {fault.detail}")


def _request(clip: Clip) -> dict[str, Any]:
    from edge_monitor.node.wire import pack_bytes, pack_vector

    return {
        "name": clip.path.name,
        "sha256": clip.sha256,
        "seconds": clip.seconds,
        "windows": [
            {
                "start_s": window.start_s,
                "level_dbfs": window.level_dbfs,
                "quietest_dbfs": window.quietest_dbfs,
                "vector": pack_vector(window.vector),
                "spectrogram": pack_bytes(window.spectrogram),
                "acoustics": window.acoustics,
            }
            for window in clip.windows
        ],
    }


def _enroll_live(
    ask: Ask, machine: str, minutes: float, *, bundle_hash: str, keep_audio: bool, console: Console
) -> int:
    """Enrol live sound and return how many windows were taken in."""
    from edge_monitor.console import Progress

    item: dict[str, Any] = {}
    try:
        with console.progress() as show:
            show(Progress("Listening", 0.0, minutes * 60))
            for item in ask(
                "enroll.live", machine=machine, minutes=minutes, keep_audio=keep_audio, bundle_hash=bundle_hash
            ):
                show(Progress("Listening", item["seconds"], minutes * 60, item["text"]))
    except KeyboardInterrupt:
        if item:
            console.say(
                f"edge-monitor: interrupted; what was heard is not used. `edge-monitor normals restore"
                f" '{item['session']}'` takes it in after all."
            )
        raise
    return int(item["windows"])


def _show(built: dict[str, Any]) -> None:
    click.echo(f"{built['machine']}: generation {built['generation']} of {built['normals']} normal windows is active.")
    click.echo(built["coverage"])
    click.echo(built["calibration"])
    gate = built["gate_dbfs"]
    if gate is not None:
        click.echo(f"Below {gate:.1f} dBFS the machine counts as not running.")
    if built["caution"]:
        click.echo(built["caution"])
