"""Recordings of every honest format are heard; everything else is one clear line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from edge_monitor.capture.recording import Recording, list_recordings, read_clip
from edge_monitor.config.machine import RecordingSource
from edge_monitor.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_monitor.records import Samples


def sine(rate_hz: int = 16_000, seconds: float = 1.0, amplitude: float = 0.5) -> Samples:
    """Return a 440 Hz sine."""
    return (amplitude * np.sin(2 * np.pi * 440 * np.arange(round(rate_hz * seconds)) / rate_hz)).astype(np.float32)


def recording(path: Path, **settings: object) -> Recording:
    """Return the path as a source that does not wait."""
    fields = {"kind": "recording", "path": path, "pace": "max", **settings}
    return Recording("p", RecordingSource.model_validate(fields))


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate_hz", "error"),
    [
        ("wav", "PCM_U8", 16_000, 0.01),
        ("wav", "PCM_16", 8_000, 1e-4),
        ("wav", "PCM_24", 44_100, 1e-6),
        ("wav", "PCM_32", 48_000, 1e-6),
        ("wav", "FLOAT", 96_000, 1e-7),
        ("wav", "DOUBLE", 16_000, 1e-7),
        ("flac", "PCM_16", 16_000, 1e-4),
        ("flac", "PCM_24", 192_000, 1e-6),
    ],
)
def test_every_subtype_and_rate_is_read(tmp_path: Path, suffix: str, subtype: str, rate_hz: int, error: float) -> None:
    """Samples come back at their own rate within a step of their format."""
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, sine(rate_hz), rate_hz, subtype=subtype)
    samples, rate = read_clip(path)
    assert rate == rate_hz
    assert samples.dtype == np.float32
    assert np.abs(samples - sine(rate_hz)).max() <= error


def test_a_channel_of_a_stereo_file_is_chosen(tmp_path: Path) -> None:
    """Channels count from 1."""
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([sine(amplitude=0.1), sine(amplitude=0.4)], axis=1), 16_000, subtype="FLOAT")
    assert np.abs(read_clip(path, 1)[0]).max() == pytest.approx(0.1, abs=1e-3)
    assert np.abs(read_clip(path, 2)[0]).max() == pytest.approx(0.4, abs=1e-3)
    with pytest.raises(AudioError, match=r"stereo.wav: has 2 channels, not 3"):
        read_clip(path, 3)


def test_not_a_number_is_passed_on(tmp_path: Path) -> None:
    """The signal checks judge content; reading does not hide it."""
    samples = sine()
    samples[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16_000, subtype="FLOAT")
    assert np.flatnonzero(np.isnan(read_clip(tmp_path / "nan.wav")[0])).tolist() == [100]


def cut_short(path: Path) -> None:
    """Write a sound file and throw its second half away."""
    soundfile.write(path, sine(seconds=3) + np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_sound(path: Path) -> None:
    """Write a header without samples."""
    soundfile.write(path, np.zeros(0, np.float32), 16_000)


@pytest.mark.parametrize(
    ("name", "write", "line"),
    [
        ("zero.wav", lambda path: path.write_bytes(b""), "the file is empty"),
        ("header.wav", no_sound, "the file holds no sound"),
        ("half.wav", cut_short, "truncated: 48022 bytes of sound are missing"),
        ("half.flac", cut_short, "damaged or truncated"),
        ("text.wav", lambda path: path.write_text("this is no sound"), "not a sound file that can be read"),
        ("text.flac", lambda path: path.write_text("nor is this"), "not a sound file that can be read"),
        ("riff.wav", lambda path: path.write_bytes(b"RIFF\0\0\0\0WAVE"), "not a sound file that can be read"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(
    tmp_path: Path, name: str, write: Callable[[Path], object], line: str
) -> None:
    """Empty, truncated and renamed files raise AudioError with the path, alone and within a folder."""
    write(tmp_path / name)
    with pytest.raises(AudioError) as caught:
        read_clip(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: {line}")
    assert "\n" not in str(caught.value)
    soundfile.write(tmp_path / "a-good.wav", sine(), 16_000)
    with pytest.raises(AudioError, match=line):
        list(recording(tmp_path).items())


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    """Neither plays as silence."""
    with pytest.raises(AudioError, match=r"nowhere: no such file or folder"):
        list_recordings(tmp_path / "nowhere")
    with pytest.raises(AudioError, match=r"nowhere.wav: no such file"):
        read_clip(tmp_path / "nowhere.wav")
    (tmp_path / "notes.txt").write_text("no sound")
    with pytest.raises(AudioError, match="no WAV or FLAC file in this folder"):
        recording(tmp_path)


def test_a_folder_is_one_stream_in_name_order(tmp_path: Path) -> None:
    """Stream time goes on across files, positions start anew, and each boundary is a gap."""
    soundfile.write(tmp_path / "b.wav", sine(seconds=0.5), 16_000)
    soundfile.write(tmp_path / "a.flac", sine(8000, seconds=0.3), 8_000)
    soundfile.write(tmp_path / "C.WAV", sine(seconds=0.1), 16_000)
    blocks = list(recording(tmp_path).items())
    told = [(block.recording, block.gap, block.last, len(block.samples)) for block in blocks]
    assert told == [
        ("C.WAV", True, True, 1600),
        ("a.flac", True, False, 1600),
        ("a.flac", False, True, 800),
        ("b.wav", True, False, 3200),
        ("b.wav", False, False, 3200),
        ("b.wav", False, True, 1600),
    ]
    assert [block.start_s for block in blocks] == pytest.approx([0.0, 0.1, 0.3, 0.4, 0.6, 0.8])
    assert [block.recording_start_s for block in blocks] == pytest.approx([0.0, 0.0, 0.2, 0.0, 0.2, 0.4])


def test_a_loop_starts_again(tmp_path: Path) -> None:
    """After the last file comes the first, later in stream time, behind a gap."""
    soundfile.write(tmp_path / "a.wav", sine(seconds=0.2), 16_000)
    items = recording(tmp_path, loop=True).items()
    blocks = [next(items) for _ in range(3)]
    assert [block.start_s for block in blocks] == pytest.approx([0.0, 0.2, 0.4])
    assert all(block.gap for block in blocks)


def test_a_wav_written_into_a_pipe_is_no_truncated_one(tmp_path: Path) -> None:
    """Recorders that cannot seek back declare an impossible length; what is there is read."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, sine(), 16_000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read_clip(path)[0]) == 16_000
