"""Going over to another bundle: kept sound is heard anew, or what was enrolled is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import AudioError, ControlError, NormalsError
from edge_monitor.memory import changes
from edge_monitor.memory.generations import active_generation
from edge_monitor.memory.normal import NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.node.clips import encode_clip
from edge_monitor.node.generations import GenerationSummary, describe, rebuild
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.learnt import require_same
from edge_monitor.node.operation import Message, Nothing, OfMachine

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_monitor.memory.normal import Recording
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled

_PIECE_BYTES = 16 << 20  # of a kept sound


class KeepSound(OfMachine):
    """A recording's sound."""

    sha256: str  # of the recording's own file
    file: str  # file id of its sound, FLAC


class OfBundle(OfMachine):
    """A machine, asked about by who has this bundle."""

    bundle_hash: str


class LeftBehind(Message):
    """How many normals were taken out of use."""

    machine: str
    left: int


class HeardAgain(Message):
    """A recording was heard again, or left out."""

    recording: str
    done: int
    of: int
    left_out: str | None  # why


def keep(node: Node, request: KeepSound, cancelled: Cancelled) -> Generator[Nothing, None, Nothing]:
    """Keep a recording's sound, so that another bundle can learn from it."""
    node.machine(request.machine)
    yield from ()
    with node.files.using(request.file) as file:

        def next_piece() -> bytes:
            if cancelled():
                raise ControlError("the sound was not kept: nobody waits for it", where=request.machine)
            return file.read(_PIECE_BYTES)

        KeptAudio.of(node, request.machine).write(request.sha256, iter(next_piece, b""))
    return Nothing()


def leave_behind(node: Node, request: OfBundle, _cancelled: Cancelled) -> Generator[Nothing, None, LeftBehind]:
    """Take every normal of a machine out of use; its generation goes on until the next one is built.

    Raises BundleMismatchError when the asker has another bundle than the node.
    """
    yield from ()
    machine = request.machine
    node.machine(machine)
    require_same(node, request.bundle_hash)
    with node.reading() as connection:
        in_use = Normals(connection, machine).ids()
    return LeftBehind(machine=machine, left=len(changes.remove(node.store, machine, in_use)))


def reembed(node: Node, request: OfBundle, _cancelled: Cancelled) -> Generator[HeardAgain, None, GenerationSummary]:
    """Hear a machine's kept sound with the node's bundle and build the next generation.

    Yield how it goes after each recording. Nothing changes unless a generation comes of it. `bundle_hash` is the
    asker's idea of the node's bundle.
    """
    machine, bundle_hash = request.machine, request.bundle_hash
    node.machine(machine)
    require_same(node, bundle_hash)
    with node.reading() as connection:
        normals = Normals(connection, machine)
        used, generation = normals.bundle_hash(), active_generation(connection, machine)
        recordings = [recording for recording in normals.recordings() if recording.normals]
    if used is None:
        raise NormalsError("no normal sound is known", where=machine, hint="`edge-monitor enroll` first")
    if used != bundle_hash:
        heard = yield from _hear(node, machine, recordings)
        changes.add_all(node.store, machine, heard, bundle_hash=bundle_hash, instead_of=used)
    elif generation is not None and generation.bundle_hash == bundle_hash:
        raise NormalsError(f"already enrolled with {node.bundle.name}", where=machine)
    try:
        built = rebuild(node, machine, "re-embed")
    except BaseException:
        if used != bundle_hash:  # without a generation that fits, nothing was done
            node.commit(lambda connection: changes.use_bundle(connection, machine, used, instead_of=bundle_hash))
            changes.remove_bundle(node.store, machine, bundle_hash)
        raise
    if used != bundle_hash:
        changes.remove_bundle(node.store, machine, used)
    return describe(node, built)


def _hear(node: Node, machine: str, recordings: list[Recording]) -> Generator[HeardAgain, None, list[NewRecording]]:
    """Encode the kept sound of every recording in use, and return what was heard."""
    kept = KeptAudio.of(node, machine)
    if not any(kept.has(recording.sha256) for recording in recordings):
        raise NormalsError(
            "no sound was kept to hear again",
            where=machine,
            hint="enrol recordings with `edge-monitor enroll --anew --keep-audio`",
        )
    encoder = Encoder(node.bundle, node.settings.model.threads)
    heard: list[NewRecording] = []
    for done, recording in enumerate(recordings, start=1):
        left_out = None
        if kept.has(recording.sha256):
            try:
                clip = encode_clip(kept.path(recording.sha256), encoder, 1, encoder.window_s, measured=True)
            except AudioError as error:
                left_out = str(error)
            else:
                about = (recording.name, recording.sha256, recording.seconds)
                heard.append(NewRecording(*about, clip.windows, recording.added_ms))
        else:
            left_out = "its sound was not kept"
        yield HeardAgain(recording=recording.name, done=done, of=len(recordings), left_out=left_out)
    return heard
