"""A recording as the bundle hears it: read, cut, checked and embedded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.capture.gate import quietest_dbfs
from edge_monitor.capture.quality import check, level_dbfs
from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.resampling import resample
from edge_monitor.capture.windowing import cut
from edge_monitor.errors import AudioError
from edge_monitor.explain.spectrogram import compact
from edge_monitor.memory.descriptors import Descriptors
from edge_monitor.memory.leaveout import block_of
from edge_monitor.memory.normal import NewNormal, NewRecording
from edge_monitor.node.normal_acoustics import acoustics_json

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.records import SignalFault, Vector, Window


# Repeated to a window's length, a shorter sound says more of the repetition than of the machine.
SHORTEST_S = 2.0


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """A window of a recording, ready to be enrolled or scored."""

    start_s: float  # position in the recording, seconds
    level_dbfs: float
    quietest_dbfs: float  # of its quietest quarter second
    vector: Vector  # (dim,) float32, raw
    spectrogram: bytes  # compact
    acoustics: str | None  # JSON; None when it was not asked for, or the window is too short


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording as the bundle hears it."""

    path: Path
    sha256: str  # of the file's bytes
    seconds: float
    windows: tuple[EncodedWindow, ...]
    faults: tuple[SignalFault, ...]  # windows that are not the machine's sound


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file. Raises AudioError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}", where=str(path)) from error


def require_length(seconds: float, encoder: Encoder, where: str | None = None) -> None:
    """Raise AudioError for less sound than SHORTEST_S or a window, whichever is less."""
    shortest_s = min(SHORTEST_S, encoder.window_s)
    if seconds < shortest_s:
        raise AudioError(
            f"{seconds:.2g} s of sound are too short to judge", where=where, hint=f"{shortest_s:g} s at least"
        )


def encode_clip(path: Path, encoder: Encoder, channel: int, hop_s: float, *, measured: bool = False) -> Clip:
    """Read one channel (from 1) of a recording and embed its windows, `hop_s` seconds apart.

    With `measured` their acoustics are taken as well, as enrolment needs them. Raises AudioError, also for less sound
    than SHORTEST_S or a window.
    """
    samples, rate_hz = read_clip(path, channel)
    require_length(len(samples) / rate_hz, encoder, where=str(path))
    heard = resample(samples, rate_hz, encoder.sample_rate_hz)
    windows: list[EncodedWindow] = []
    faults: list[SignalFault] = []
    for window in cut(heard, encoder.sample_rate_hz, encoder.window_s, hop_s, recording=path.name):
        fault = check(window)
        if fault is None:
            windows.append(_encode(window, encoder, measured=measured))
        else:
            faults.append(fault)
    return Clip(path, sha256_of(path), len(samples) / rate_hz, tuple(windows), tuple(faults))


def normals_of(clip: Clip) -> list[NewNormal]:
    """Return a clip's windows as they are learnt; it has to be encoded `measured`."""
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


def recording_of(clip: Clip) -> NewRecording:
    """Return a clip as it is learnt; it has to be encoded `measured`. A name that is not UTF-8 is escaped."""
    name = clip.path.name.encode(errors="backslashreplace").decode()
    return NewRecording(name, clip.sha256, clip.seconds, normals_of(clip))


def _encode(window: Window, encoder: Encoder, *, measured: bool) -> EncodedWindow:
    return EncodedWindow(
        start_s=window.recording_start_s,
        level_dbfs=level_dbfs(window.samples),
        quietest_dbfs=quietest_dbfs(window.samples, window.rate_hz),
        vector=encoder.embed_window(window).vector,
        spectrogram=compact(window.samples, window.rate_hz),
        acoustics=acoustics_json(window.samples, window.rate_hz) if measured else None,
    )
