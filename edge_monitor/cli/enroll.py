"""`edge-monitor enroll`: how a machine sounds when healthy."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import sent, tell, warn
from edge_monitor.cli.options import FiniteRange, channel_option, json_option, machine_option, verbose_option
from edge_monitor.console import Console, JsonConsole, Progress, QuietConsole
from edge_monitor.counting import counted
from edge_monitor.errors import AudioError, NormalsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.api.client import NodeClient
    from edge_monitor.config.settings import Settings
    from edge_monitor.memory.normal import NewRecording
    from edge_monitor.node.bundle_change import HeardAgain
    from edge_monitor.node.enrolled_sound import EnrolledSound
    from edge_monitor.node.generations import GenerationSummary
    from edge_monitor.node.live import EnrollLive, EnrolmentProgress
    from edge_monitor.node.node import Node


@click.command("enroll")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@machine_option
@click.option("--pattern", default="*", show_default=True, help="Which files of a folder, e.g. 'normal_id_02_*'.")
@click.option(
    "--live",
    "live_minutes",
    type=FiniteRange(min=0, min_open=True, max=60 * 24 * 31),
    metavar="MINUTES",
    help="Enrol this much of the machine's live sound instead of files.",
)
@channel_option
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
@click.option("--no-audibility", is_flag=True, help="Do not measure how faint a fault is heard: some 10 s.")
@verbose_option
@json_option
@click.option("--progress-json", is_flag=True, help="Tell progress on standard error in JSON lines, for programs.")
def command(
    *,
    files: tuple[Path, ...],
    settings: Settings,
    machine: str,
    pattern: str,
    live_minutes: float | None,
    channel: int,
    keep_audio: bool,
    re_embed: bool,
    anew: bool,
    no_audibility: bool,
    verbose: bool,
    as_json: bool,
    progress_json: bool,
) -> None:
    """Learn how a machine sounds when healthy, from FILES or folders of them, or from its live sound.

    Ten minutes are a beginning; a threshold you can trust needs every way the machine normally runs. What is enrolled
    adds to what was, and the daemon goes over to it by itself. Then fault sounds are mixed into it, to tell how faint
    they are heard. The last line is a verdict, good, thin or deaf, with the next step. Live, a window is passed over
    after each 30 s, so that the blocks are independent: ten minutes give 450 s of sound.
    """
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.cli.audibility import sound_of_files, with_audibility
    from edge_monitor.node.node import Node
    from edge_monitor.node.operations import ENROLL_LIVE, LEAVE_BEHIND
    from edge_monitor.node.used_bundle import going_over

    if bool(files) + bool(live_minutes) + re_embed != 1:
        raise click.UsageError("name recordings or folders of them, or give --live MINUTES, or --re-embed; one of them")
    if re_embed and (keep_audio or anew):
        raise click.UsageError("--re-embed goes with neither --keep-audio nor --anew")
    console = _console(as_json=as_json, progress_json=progress_json)
    if re_embed or anew:
        settings = going_over(settings)
    node = Node(settings)
    node.machine(machine)
    node.bundle.check("audio")
    bundle_hash = node.bundle.bundle_hash
    added = failed = 0
    sample: EnrolledSound | None = None
    with open_node(settings) as client:
        chosen: list[Path] = []
        if re_embed:
            added = _re_embed(client, node, machine, console)  # which has built its generation
        else:
            chosen = _chosen(files, pattern) if files else []
            if anew:
                finish(client, LEAVE_BEHIND, LEAVE_BEHIND.request(machine=machine, bundle_hash=bundle_hash))
            if live_minutes:
                request = ENROLL_LIVE.request(
                    machine=machine,
                    minutes=live_minutes,
                    keep_audio=keep_audio,
                    bundle_hash=bundle_hash,
                    sample=not no_audibility,
                )
                added, sample = _enroll_live(client, request, console)
            else:
                added, failed = _enroll_files(
                    client, node, machine, chosen, channel, keep_audio=keep_audio, console=console
                )
        active, changed, recordings = _active(client, node, machine, added, anew=anew, built=re_embed)
        if chosen and not (no_audibility or active.audibility):
            sample = sound_of_files(client, chosen, channel, node.bundle.manifest.audio)
        if sample:
            active = with_audibility(client, active, sample, console)
    answer = active.model_dump(mode="json", exclude_unset=True)
    answer |= {"recordings": recordings, "added": added, "files_failed": failed}
    tell(answer, _lines(active, recordings, changed=changed, verbose=verbose), as_json=as_json)
    if failed:
        warn(f"{failed} of the files could not be enrolled, see above")
        raise SystemExit(1)


def _active(
    client: NodeClient, node: Node, machine: str, added: int, *, anew: bool, built: bool
) -> tuple[GenerationSummary, bool, int]:
    """Return the active generation, the next one if what is in use has changed, whether it has, and its recordings.

    With `built` there is one already.
    """
    from edge_monitor.api.client import finish
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import BUILD_GENERATION, LIST_GENERATIONS, LIST_NORMALS

    of_machine = OfMachine(machine=machine)
    active = [each for each in client.call(LIST_GENERATIONS, of_machine).generations if each.active]
    in_use = [each.normals for each in client.call(LIST_NORMALS, of_machine).recordings if each.normals]
    stale = anew or not active or active[0].normals != sum(in_use)
    changed = bool(added) or stale or bool(node.another_scorer(machine, active[0].scorer))
    if built or not changed:
        return active[0], changed, len(in_use)
    built_now = finish(client, BUILD_GENERATION, BUILD_GENERATION.request(machine=machine, reason="enroll"))
    return built_now, changed, len(in_use)


def _console(*, as_json: bool, progress_json: bool) -> Console:
    """Return what tells the progress: on standard error, so that the answer on standard output stays alone."""
    if progress_json:
        return JsonConsole(sys.stderr)
    return QuietConsole(sys.stderr) if as_json else Console.on(sys.stderr)


def _chosen(files: tuple[Path, ...], pattern: str) -> list[Path]:
    from edge_monitor.cli.clips import find_files, machine_ids

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
    client: NodeClient, node: Node, machine: str, named: list[Path], channel: int, *, keep_audio: bool, console: Console
) -> tuple[int, int]:
    """Enrol each file by itself, so that whatever happens meanwhile loses at most one.

    Return how many normals are new and how many files failed.
    """
    from edge_monitor.cli.clips import left_out, of_one_rate, require_windows
    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.node.bandwidth import another_rate, not_added, recording_highest_hz
    from edge_monitor.node.clips import encode_clip, recording_of, sha256_of
    from edge_monitor.node.operations import KNOWN_RECORDINGS

    encoder = Encoder(node.bundle, node.settings.model.threads)
    added = 0
    files, others = named, ""
    asked = KNOWN_RECORDINGS.request(machine=machine, sha256=(), bundle_hash=encoder.bundle_hash)
    if client.call(KNOWN_RECORDINGS, asked).learnt_hz is None:  # otherwise each is compared with what is learnt
        files, others = of_one_rate(named, channel, encoder.sample_rate_hz)
    failed = len(named) - len(files)
    with console.progress() as show:
        if others:
            console.say(f"edge-monitor: {others}")
        for done, path in enumerate(files):
            show(Progress("Enrolling", done, len(files)))
            try:
                sha256 = sha256_of(path)
                asked = KNOWN_RECORDINGS.request(machine=machine, sha256=(sha256,), bundle_hash=encoder.bundle_hash)
                known = client.call(KNOWN_RECORDINGS, asked)
                if not known.known:
                    clip = encode_clip(path, encoder, channel, encoder.window_s, measured=True)
                    require_windows(clip, "not the sound of a machine")
                    for line in left_out(clip):
                        console.say(f"edge-monitor: {line}")
                    new = recording_of(clip)
                    if told := another_rate(recording_highest_hz(new), known.learnt_hz):
                        raise not_added(machine, new.name, told)
                    added += _add(client, machine, new, encoder.bundle_hash)
                if keep_audio and not known.kept:
                    _keep(client, machine, path, channel, sha256)
            except (AudioError, NormalsError) as error:
                console.say(f"edge-monitor: {error}")
                failed += 1
        show(Progress("Enrolling", len(files), len(files)))
    return added, failed


def _add(client: NodeClient, machine: str, new: NewRecording, bundle_hash: str) -> int:
    """Have a recording's windows remembered, and return how many normals are new."""
    from edge_monitor.api.client import finish
    from edge_monitor.memory.portable import write_recordings
    from edge_monitor.node.operations import ADD_RECORDING

    content = io.BytesIO()
    write_recordings(content, machine, [new], bundle_hash=bundle_hash)
    content.seek(0)
    with sent(client, content) as file:
        request = ADD_RECORDING.request(machine=machine, file=file, bundle_hash=bundle_hash)
        return finish(client, ADD_RECORDING, request).count


def _keep(client: NodeClient, machine: str, path: Path, channel: int, sha256: str) -> None:
    """Hand a recording's channel over to be kept."""
    from edge_monitor.api.client import finish
    from edge_monitor.capture.recording import read_clip
    from edge_monitor.node.kept_audio import as_flac
    from edge_monitor.node.operations import KEEP_SOUND

    with sent(client, io.BytesIO(as_flac(*read_clip(path, channel)))) as file:
        finish(client, KEEP_SOUND, KEEP_SOUND.request(machine=machine, sha256=sha256, file=file))


def _re_embed(client: NodeClient, node: Node, machine: str, console: Console) -> int:
    """Have the kept sound heard again, and return how many normals the generation that came of it has."""
    from edge_monitor.api.client import finish
    from edge_monitor.node.operations import REEMBED

    with console.progress() as show:

        def tell_heard(heard: HeardAgain) -> None:
            show(Progress("Hearing again", heard.done, heard.of))
            if heard.left_out:
                console.say(f"edge-monitor: {heard.recording}: left out: {heard.left_out}")

        request = REEMBED.request(machine=machine, bundle_hash=node.bundle.bundle_hash)
        return finish(client, REEMBED, request, tell_heard).normals


def _enroll_live(client: NodeClient, request: EnrollLive, console: Console) -> tuple[int, EnrolledSound | None]:
    """Enrol live sound; return how many windows were taken in, and a sample of their sound if that was asked for."""
    from edge_monitor.api.client import finish
    from edge_monitor.node.operations import ENROLL_LIVE

    session = ""
    try:
        with console.progress() as show:

            def tell_heard(heard: EnrolmentProgress) -> None:
                nonlocal session
                session = heard.session
                show(Progress("Listening", heard.seconds, request.minutes * 60, heard.text))

            show(Progress("Listening", 0.0, request.minutes * 60))
            enrolled = finish(client, ENROLL_LIVE, request, tell_heard)
            tell_heard(enrolled)
    except KeyboardInterrupt:
        if session:
            console.say(
                f"edge-monitor: interrupted; what was heard is not used. `edge-monitor normals restore`"
                f" '{session}'` takes it in after all."
            )
        raise
    return enrolled.windows, enrolled.sample


def _lines(active: GenerationSummary, recordings: int, *, changed: bool, verbose: bool) -> Iterator[str]:
    heard = f"{active.seconds / 60:.1f} min of normal sound from {counted(recordings, 'recording')}"
    done = f"generation {active.generation} is active" if changed else f"nothing new, generation {active.generation}"
    yield f"{active.machine}: {heard}; {done}."
    if verbose:
        yield from filter(None, [active.verdict.figures])
        yield active.coverage
        yield active.calibration
        if active.gate_dbfs is not None:
            yield f"Below {active.gate_dbfs:.1f} dBFS the machine counts as not running."
        if active.caution:
            yield active.caution
    if active.doubt:
        yield active.doubt
    if active.audible:
        yield active.audible
    yield active.verdict.line
