"""Going over to another bundle: kept sound is heard anew, or what was enrolled is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import AudioError, NormalsError
from edge_monitor.memory import changes
from edge_monitor.memory.descriptors import Descriptors
from edge_monitor.memory.generations import active_generation
from edge_monitor.memory.leaveout import block_of
from edge_monitor.memory.normal import NewNormal, NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.node.clips import encode_clip
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.learning import require_same
from edge_monitor.node.normals import describe, rebuild
from edge_monitor.node.wire import unpack_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.memory.normal import Recording
    from edge_monitor.node.clips import Clip
    from edge_monitor.node.node import Node

    Answer = Iterator[dict[str, Any]]


def keep(node: Node, *, machine: str, sha256: str, content: str, offset: int, last: bool) -> Answer:
    """Keep a recording's sound (FLAC), or the next part of it; yield whether it is whole."""
    node.machine(machine)
    KeptAudio.of(node, machine).write(sha256, unpack_bytes(content), offset=offset, last=last)
    yield {"kept": last}


def leave_behind(node: Node, *, machine: str, bundle_hash: str) -> Answer:
    """Take every normal of a machine out of use; its generation goes on until the next one is built.

    Raises BundleMismatchError when the asker has another bundle than the node.
    """
    node.machine(machine)
    require_same(node, bundle_hash)
    with node.reading() as connection:
        in_use = Normals(connection, machine).ids()
    yield {"machine": machine, "left": len(changes.remove(node.store, machine, in_use))}


def reembed(node: Node, *, machine: str, bundle_hash: str) -> Answer:
    """Hear a machine's kept sound with the node's bundle and build the next generation.

    Yield `{"recording", "done", "of", "left_out"}` after each recording (`left_out`: why, or null), then the new
    generation. Nothing changes unless a generation comes of it. `bundle_hash` is the asker's idea of the node's bundle.
    """
    node.machine(machine)
    require_same(node, bundle_hash)
    with node.reading() as connection:
        normals = Normals(connection, machine)
        used, generation = normals.bundle_hash(), active_generation(connection, machine)
        recordings = [recording for recording in normals.recordings() if recording.normals]
    if used is None:
        raise NormalsError("no normal sound is known", where=machine, hint="`edge-monitor enroll` first")
    if used != bundle_hash:
        heard: list[NewRecording] = []
        yield from _hear(node, machine, recordings, heard)
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
    yield describe(built)


def _hear(node: Node, machine: str, recordings: list[Recording], heard: list[NewRecording]) -> Answer:
    """Encode the kept sound of every recording in use into `heard`; yield progress."""
    kept = KeptAudio.of(node, machine)
    if not any(kept.has(recording.sha256) for recording in recordings):
        raise NormalsError(
            "no sound was kept to hear again",
            where=machine,
            hint="enrol recordings with `edge-monitor enroll --anew --keep-audio`",
        )
    encoder = Encoder(node.bundle, node.settings.model.threads)
    for done, recording in enumerate(recordings, start=1):
        left_out = None
        if kept.has(recording.sha256):
            try:
                clip = encode_clip(kept.path(recording.sha256), encoder, 1, encoder.window_s, measured=True)
            except AudioError as error:
                left_out = str(error)
            else:
                heard.append(
                    NewRecording(
                        recording.name, recording.sha256, recording.seconds, _normals(clip), recording.added_ms
                    )
                )
        else:
            left_out = "its sound was not kept"
        yield {"recording": recording.name, "done": done, "of": len(recordings), "left_out": left_out}


def _normals(clip: Clip) -> list[NewNormal]:
    return [
        NewNormal(
            block=block_of(window.start_s),
            start_s=window.start_s,
            level_dbfs=window.level_dbfs,
            vector=window.vector,
            spectrogram=window.spectrogram,
            descriptors=Descriptors(window.quietest_dbfs, window.acoustics),
        )
        for window in clip.windows
    ]
