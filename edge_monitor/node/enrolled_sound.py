"""A sample of the sound that a machine is enrolled with: in memory for as long as faults are mixed into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.quality import check
from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.resampling import resample
from edge_monitor.capture.windowing import cut
from edge_monitor.errors import AudioError
from edge_monitor.node.audibility import TRIALS
from edge_monitor.node.clips import sha256_of
from edge_monitor.node.operation import Message
from edge_monitor.node.vectors import as_npy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import IO

    from edge_monitor.encode.manifest import AudioPart
    from edge_monitor.records import Samples


class EnrolledWindow(Message):
    """Where a window comes from."""

    sha256: str  # of its recording
    start_s: float  # position in it, seconds


class EnrolledSound(Message):
    """Some of a machine's enrolled windows."""

    file: str  # file id of a .npy: (windows, frames) float32 at the bundle's rate
    windows: tuple[EnrolledWindow, ...]  # of each of them


class SoundSample:
    """A uniform random sample of the windows that come, TRIALS at most: 13 MB of the embedded bundle's.

    Vitter, Random sampling with a reservoir, ACM Trans. Mathematical Software 11(1), 1985, algorithm R.
    """

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._seen = 0
        self._kept: list[tuple[Samples, EnrolledWindow]] = []

    def add(self, samples: Samples, sha256: str, start_s: float) -> None:
        """Take note of an enrolled window, (frames,), `start_s` seconds into its recording."""
        window = samples, EnrolledWindow(sha256=sha256, start_s=start_s)
        self._seen += 1
        if len(self._kept) < TRIALS:
            self._kept.append(window)
        elif (place := int(self._random.integers(self._seen))) < TRIALS:
            self._kept[place] = window

    def __len__(self) -> int:
        """Return how many windows are kept."""
        return len(self._kept)

    def sent(self, send: Callable[[IO[bytes]], str]) -> EnrolledSound:
        """Return one window or more, their sound sent by what gives it a file id."""
        file = send(as_npy([samples for samples, _ in self._kept]))
        return EnrolledSound(file=file, windows=tuple(window for _, window in self._kept))


def sample_files(paths: Sequence[Path], channel: int, audio: AudioPart) -> SoundSample:
    """Return windows of some recordings' channel (from 1), as the bundle hears them; what is no sound is left out."""
    sample, random = SoundSample(), np.random.default_rng(0)
    chosen = [paths[each] for each in random.permutation(len(paths))[:TRIALS]]
    for path in chosen:
        try:
            samples, rate_hz = read_clip(path, channel)
            sha256 = sha256_of(path)
        except AudioError:
            continue  # as enrolling has said
        heard = resample(samples, rate_hz, audio.sample_rate_hz)
        windows = [each for each in cut(heard, audio.sample_rate_hz, audio.window_s, audio.window_s) if not check(each)]
        for each in random.permutation(len(windows))[: -(-TRIALS // len(chosen))]:
            sample.add(windows[each].samples, sha256, windows[each].recording_start_s)
    return sample
