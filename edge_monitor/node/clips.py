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
from edge_monitor.memory.leaveout import block_of
from edge_monitor.memory.normal import Descriptors, NewNormal, NewRecording
from edge_monitor.pipeline.normal_acoustics import acoustics_json

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.encode.encoder import Encoder
    from edge_monitor.records import SignalFault, Vector, Window


# Repeated to a window's length, a shorter sound says more of the repetition than of the machine.
SHORTEST_S = 2.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording as the bundle hears it."""

    path: Path
    sha256: str  # of the file's bytes
    seconds: float
    windows: tuple[NewNormal, ...]  # ready to be enrolled (`measured`) or scored
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
    windows: list[NewNormal] = []
    faults: list[SignalFault] = []
    for window in cut(heard, encoder.sample_rate_hz, encoder.window_s, hop_s, recording=path.name):
        fault = check(window)
        if fault is None:
            vector = encoder.embed_window(window).vector
            windows.append(normal_of(window, vector, window.recording_start_s, measured=measured))
        else:
            faults.append(fault)
    return Clip(path, sha256_of(path), len(samples) / rate_hz, tuple(windows), tuple(faults))


def normal_of(window: Window, vector: Vector, start_s: float, *, measured: bool = True) -> NewNormal:
    """Return a window with its raw vector, (dim,) float32, as it is learnt, `start_s` seconds into its recording."""
    acoustics = acoustics_json(window.samples, window.rate_hz) if measured else None
    return NewNormal(
        block=block_of(start_s),
        start_s=start_s,
        level_dbfs=level_dbfs(window.samples),
        vector=vector,
        spectrogram=compact(window.samples, window.rate_hz),
        descriptors=Descriptors(quietest_dbfs(window.samples, window.rate_hz), acoustics),
    )


def recording_of(clip: Clip) -> NewRecording:
    """Return a clip as it is learnt; it has to be encoded `measured`. A name that is not UTF-8 is escaped."""
    name = clip.path.name.encode(errors="backslashreplace").decode()
    return NewRecording(name, clip.sha256, clip.seconds, clip.windows)
