"""WAV and FLAC recordings: read whole as clips, or played as a source."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from edge_monitor.capture.pacing import PlayedSource
from edge_monitor.counting import counted
from edge_monitor.errors import AudioError
from edge_monitor.records import AudioBlock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.config.machine import RecordingSource
    from edge_monitor.records import Samples

SUFFIXES = (".flac", ".wav")
_BLOCK_S = 0.2
_CHUNK_HEADER = struct.Struct("<4sI")
_RATES_HZ = range(1_000, 1_000_001)  # of a microphone, ultrasound included; a damaged header says anything
_UNKNOWN_SIZE = 0x7FFFF000  # and above: written by recorders that could not seek back (sox this, ffmpeg 0xFFFFFFFF)


def list_recordings(path: Path) -> list[Path]:
    """Return the file itself, or a folder's WAV and FLAC files in name order.

    Raises AudioError when there is no such file or folder, or no recording in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise AudioError("no such file or folder", where=str(path))
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise AudioError("no WAV or FLAC file in this folder", where=str(path))
    return files


def require_sound(path: Path, channel: int = 1) -> None:
    """Raise AudioError when a file is missing, not audio, or has no such channel; its samples are not read."""
    _open(path, channel).close()


def rate_of(path: Path, channel: int = 1) -> int:
    """Return the sample rate of a file, Hz. Raises AudioError as `require_sound` does."""
    with _open(path, channel) as file:
        rate_hz: int = file.samplerate
    return rate_hz


def duration_s(path: Path) -> float:
    """Return how long a recording is, seconds. Raises AudioError when it cannot be read."""
    with _open(path, 1) as file:
        return float(file.frames / file.samplerate)


def read_clip(path: Path, channel: int = 1) -> tuple[Samples, int]:
    """Return one channel (counted from 1) of a whole file as (frames,) float32, and its rate in Hz.

    Not-a-number samples are passed on: the signal checks judge them.
    Raises AudioError when the file is missing, empty, truncated, not audio, or has no such channel.
    """
    with _open(path, channel) as file:
        rate_hz: int = file.samplerate
        samples = np.concatenate(list(_blocks(file, path, channel, frames=10 * rate_hz)))
    return samples, rate_hz


class Recording(PlayedSource):
    """A WAV or FLAC file, or a folder of them in name order, as one stream of one machine.

    The boundary between two files is a gap; a file's last block is marked `last`. All headers are read at once, so
    that a wrong file is named before anything is played. Raises AudioError as `list_recordings` and `read_clip` do.
    """

    def __init__(self, machine: str, settings: RecordingSource) -> None:
        super().__init__(machine, settings.pace)
        self._settings = settings
        self._files = list_recordings(settings.path)
        for path in self._files:
            require_sound(path, settings.channel)

    def _sound(self) -> Iterator[AudioBlock]:
        start_s = 0.0
        while True:
            for path in self._files:
                for block in self._play(path, start_s):
                    yield block
                    start_s = block.end_s
            if not self._settings.loop:
                return

    def _play(self, path: Path, start_s: float) -> Iterator[AudioBlock]:
        with _open(path, self._settings.channel) as file:
            rate_hz: int = file.samplerate
            done = 0
            for samples in _blocks(file, path, self._settings.channel, frames=round(_BLOCK_S * rate_hz)):
                yield AudioBlock(
                    machine=self._machine,
                    samples=samples,
                    rate_hz=rate_hz,
                    start_s=start_s + done / rate_hz,
                    recording=path.name,
                    recording_start_s=done / rate_hz,
                    gap=done == 0,
                    last=done + len(samples) == file.frames,
                )
                done += len(samples)


def _open(path: Path, channel: int) -> soundfile.SoundFile:
    where = str(path)
    if not path.is_file():
        raise AudioError("no such file", where=where)
    try:
        size = path.stat().st_size
        declared = _declared_size(path)
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}", where=where) from error
    if size == 0:
        raise AudioError("the file is empty", where=where)
    if declared > size:
        raise AudioError(f"truncated: {declared - size} bytes of sound are missing", where=where)
    try:
        file = soundfile.SoundFile(where)
    except soundfile.LibsndfileError as error:
        raise AudioError("not a sound file that can be read", where=where, hint="use WAV or FLAC") from error
    wrong: tuple[str, str | None]
    if file.samplerate not in _RATES_HZ:
        wrong = f"says it has {file.samplerate} samples per second", "is its header damaged?"
    elif file.frames == 0:
        wrong = "the file holds no sound", None
    elif channel > file.channels:
        wrong = f"has {counted(file.channels, 'channel')}, not {channel}", "channels count from 1"
    else:
        return file
    file.close()
    raise AudioError(wrong[0], where=where, hint=wrong[1])


def _blocks(file: soundfile.SoundFile, path: Path, channel: int, frames: int) -> Iterator[Samples]:
    """Yield one channel in blocks of (frames,) float32; the last may be shorter, none is empty."""
    left: int = file.frames
    while left:
        try:
            samples = file.read(min(frames, left), dtype="float32", always_2d=True)  # (frame, channel)
        except soundfile.LibsndfileError as error:
            raise AudioError("damaged or truncated", where=str(path)) from error
        if not len(samples):
            raise AudioError(f"truncated: {left / file.samplerate:.1f} s of sound are missing", where=str(path))
        left -= len(samples)
        yield np.ascontiguousarray(samples[:, channel - 1])


def _declared_size(path: Path) -> int:
    """Return how long a WAV file must be to hold the sound its header declares, bytes; 0 when it does not say.

    libsndfile silently shortens a truncated WAV, so it cannot be asked.
    """
    with path.open("rb") as file:
        form, _ = _CHUNK_HEADER.unpack(file.read(8).ljust(8, b"\0"))
        if form != b"RIFF" or file.read(4) != b"WAVE":
            return 0
        while len(header := file.read(8)) == _CHUNK_HEADER.size:
            name, size = _CHUNK_HEADER.unpack(header)
            if name == b"data":
                return 0 if size >= _UNKNOWN_SIZE else file.tell() + size
            file.seek(size + size % 2, 1)
    return 0
