"""Any bytes as a WAV or FLAC file: finite sound, or one clear refusal; never a traceback, a hang or a gigabyte."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from edge_monitor.capture.recording import Recording, read_clip
from edge_monitor.config.machine import RecordingSource
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import AudioError
from edge_monitor.node.clips import encode_clip
from tests.fuzz.search import thoroughly

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

ROOT = Path(__file__).parents[2]
TONE = np.sin(np.arange(4000, dtype=np.float32) / 5) * np.float32(0.1)


def encoded(form: str, subtype: str) -> bytes:
    """Return a quarter of a second of a tone as a file."""
    file = io.BytesIO()
    soundfile.write(file, TONE, 16_000, format=form, subtype=subtype)
    return file.getvalue()


WHOLE = (encoded("WAV", "PCM_16"), encoded("WAV", "FLOAT"), encoded("FLAC", "PCM_16"))


def wav(rate_hz: int, content: bytes, declared: int, channels: int = 1, sample: tuple[int, int] = (16, 1)) -> bytes:
    """Return a WAV file whose header says whatever it is told to say; `sample`: bits and format."""
    bits, form = sample
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", form, channels, rate_hz, rate_hz * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", declared) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


@st.composite
def damaged(draw: DrawFn) -> bytes:
    """Return a real file with bytes changed, lost or added, most often in its header."""
    content = draw(st.sampled_from(WHOLE))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.one_of(st.integers(0, 60), st.integers(0, len(content))))
        content = content[:at] + draw(st.binary(max_size=8)) + content[at + draw(st.integers(0, 8)) :]
    return content


headers = st.builds(
    wav,
    st.one_of(st.sampled_from((0, 1, 2, 8000, 192_000, 2**31 - 1, 2**32 - 1)), st.integers(0, 2**32 - 1)),
    st.binary(max_size=2000),
    st.one_of(st.sampled_from((0, 0x7FFFF000, 0xFFFFFFFF)), st.integers(0, 5000)),
    st.one_of(st.sampled_from((0, 1, 2, 1024, 65_535)), st.integers(0, 65_535)),
    st.tuples(st.sampled_from((0, 1, 8, 16, 24, 32, 64, 65_528)), st.sampled_from((0, 1, 2, 3, 6, 7, 17, 0xFFFE))),
)


@thoroughly
@given(content=st.one_of(damaged(), headers, st.binary(max_size=300)), suffix=st.sampled_from((".wav", ".flac")))
@example(content=wav(2**31 - 1, bytes(20_000), 0xFFFFFFFF), suffix=".wav")
@example(content=wav(1, bytes(4000), 4000), suffix=".wav")
@example(content=wav(16_000, struct.pack("<f", float("nan")) * 100, 400, sample=(32, 3)), suffix=".wav")
def test_any_file_is_read_to_its_end_or_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    """A file is read as a clip and played as a source with the same result: sound, or an AudioError of one line."""
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(content)
    try:
        samples, rate_hz = read_clip(path)
    except AudioError as error:
        one_line(error)
        return
    assert samples.dtype == np.float32
    assert rate_hz > 0
    source = Recording("pump", RecordingSource(kind="recording", path=path, pace="max"))
    assert sum(len(block.samples) for block in source.items()) == len(samples)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Return the default bundle's encoder."""
    return Encoder(open_bundle(ROOT / "models/spectral"), threads=1)


@thoroughly
@given(content=st.one_of(damaged(), headers))
@example(content=wav(2**31 - 1, bytes(range(250)) * 80, 20_000))
@example(content=wav(1, bytes(range(250)) * 16, 4000))
@example(content=wav(16_000, struct.pack("<f", float("inf")) * 100, 400, sample=(32, 3)))
@example(content=wav(16_000, struct.pack("<f", 3e38) * 100, 400, sample=(32, 3)))
def test_any_file_is_encoded_or_refused(content: bytes, tmp_path: Path, encoder: Encoder) -> None:
    """What can be read becomes finite vectors and pictures, or windows that are called faulty."""
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    try:
        clip = encode_clip(path, encoder, 1, 1.0, measured=True)
    except AudioError as error:
        one_line(error)
        return
    for window in clip.windows:
        assert np.isfinite(window.vector).all()
        assert window.descriptors is not None
        assert window.descriptors.quietest_dbfs is not None
        assert np.isfinite([window.level_dbfs, window.descriptors.quietest_dbfs]).all()


def one_line(error: AudioError) -> None:
    """Check that a refusal is one readable line."""
    assert "\n" not in str(error).strip()
    assert len(str(error)) < 1_000
