"""The embedded default bundle is what its code says, number for number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
from scipy.signal import resample_poly

from edge_monitor.capture.resampling import resample
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.export.spectral import build

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMMITTED = Path(__file__).parents[2] / "models" / "spectral"
RATE_HZ = 16_000
SAMPLES = 160_000
TIME_S = np.arange(SAMPLES) / RATE_HZ


def mel_triangles(bins_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (128, bins) triangles, evenly spaced on the HTK mel scale from 20 to 6,800 Hz, peak 1."""
    mel = np.linspace(31.7484144, 2672.7545647, 130)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.array([np.interp(bins_hz, edges[i : i + 3], [0.0, 1.0, 0.0]) for i in range(128)])


def peaks(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the last block (48,): octave by octave, how far a line stands out of the spectrum of each band's level."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), 128)[::32]
    window = np.hanning(128)
    spectrum = np.fft.rfft((frames - frames.mean(1, keepdims=True)) * window * (2.0 / window.sum()))
    mel = np.linspace(150.48898, 2672.7545647, 10)  # from 100 to 6,800 Hz
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    triangles = [np.interp(125.0 * np.arange(65), edges[i : i + 3], [0.0, 1.0, 0.0]) for i in range(8)]
    level = 10.0 * np.log10(np.abs(spectrum) ** 2 @ np.array(triangles).T + 1e-11)  # (4997, 8), 500 a second
    segments = np.stack([level[624 * i : 624 * i + 1248] for i in range(7)])
    window = np.hanning(1248)[:, None]
    swings = np.fft.rfft((segments - segments.mean(1, keepdims=True)) * window * (2.0 / window.sum()), axis=1)
    power = (np.abs(swings) ** 2).mean(0)  # (625, 8)
    per_s = np.arange(625) * 500 / 1248
    octaves = [
        power[(per_s >= low) & (per_s < high)] + 9e-4
        for low, high in ((6, 12), (12, 24), (24, 48), (48, 96), (96, 180), (180, 250))
    ]
    return np.stack([10.0 * np.log10(each.max(0) / np.median(each, axis=0)) for each in octaves], axis=1).ravel()


def reference(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the embedding (304,) computed plainly in float64 with an FFT."""
    blocks = []
    for frame in (800, 320):
        window = np.hanning(frame)
        frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), frame)[:: frame // 2]
        frames = frames - frames.mean(1, keepdims=True)
        spectrum = np.fft.rfft(frames * window * (2.0 / window.sum()), 1600)  # zero-padded to steps of 10 Hz
        weight = np.zeros(801)
        if frame == 800:  # every 20 Hz
            weight[::2] = 1.0
        else:  # every 20 Hz below 2 kHz, every 50 Hz above
            weight[:200:2], weight[200], weight[205::5] = 0.4, 0.7, 1.0
        bands = (np.abs(spectrum) ** 2 * weight) @ mel_triangles(np.arange(801) * RATE_HZ / 1600).T
        decibel = 10.0 * np.log10(bands + 1e-11)
        blocks.append(decibel.max(0) if frame == 800 else decibel.std(0))
    return np.concatenate([*blocks, peaks(waveform)])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Return an encoder of the committed bundle."""
    return Encoder(open_bundle(COMMITTED))


def noise(level: float, seed: int = 3) -> NDArray[np.float32]:
    """Return ten seconds of white noise with the RMS `level` (full scale 1)."""
    return np.random.default_rng(seed).normal(0.0, level, SAMPLES).astype(np.float32)


def tone(frequency_hz: float, amplitude: float) -> NDArray[np.float32]:
    """Return ten seconds of a sine."""
    return (amplitude * np.sin(2.0 * np.pi * frequency_hz * TIME_S)).astype(np.float32)


def test_two_builds_are_the_same_bytes() -> None:
    """Nothing of the machine, the clock or the hash seed enters the file."""
    assert build() == build()


def test_the_committed_bundle_is_what_the_code_builds(tmp_path: Path, encoder: Encoder) -> None:
    """Rebuilt, the bundle is equal in bytes with the onnx version that wrote it, and equal in numbers with any."""
    built = build()
    built.write(tmp_path)
    rebuilt = Encoder(open_bundle(tmp_path))
    sound = np.stack([noise(0.1), tone(440.0, 0.5)])
    np.testing.assert_allclose(rebuilt.embed(sound), encoder.embed(sound), atol=1e-5)
    committed = (COMMITTED / "model.onnx").read_bytes()
    if onnx.__version__ == "1.23.2":
        assert built.model == committed
        assert built.manifest == (COMMITTED / "manifest.toml").read_bytes()


def test_the_model_file_stays_small() -> None:
    """It lies in git and in the wheel."""
    assert (COMMITTED / "model.onnx").stat().st_size < 150_000


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("loud noise", noise(0.3)),
        ("quiet noise", noise(1e-4)),
        ("tone in noise", tone(997.0, 0.5) + noise(1e-3)),
        ("two tones in faint noise", tone(50.0, 0.2) + tone(5000.0, 0.1) + noise(3e-4)),
        ("silence", np.zeros(SAMPLES, dtype=np.float32)),
        ("one click", np.eye(1, SAMPLES, 80_000, dtype=np.float32)[0]),
        ("beating tone", (tone(1500.0, 0.3) * (1.0 + 0.5 * np.sin(2 * np.pi * 7 * TIME_S)) + noise(1e-3)).astype("f4")),
    ],
)
def test_the_graph_equals_a_plain_reference(encoder: Encoder, name: str, sound: NDArray[np.float32]) -> None:
    """Within 0.001 dB of an FFT in double precision."""
    np.testing.assert_allclose(encoder.embed(sound[None, :])[0], reference(sound), atol=1e-3, err_msg=name)


@pytest.mark.parametrize("frequency_hz", [31.0, 997.0, 6600.0])
def test_a_bare_tone_is_exact_where_float32_can_be(encoder: Encoder, frequency_hz: float) -> None:
    """Within 0.001 dB down to 50 dB below a bare full-scale tone, within 0.05 dB below that, peaks within 0.1 dB.

    There only the rounding of float32, some 140 dB under the tone, adds to the leakage of the window; no recording is
    that clean.
    """
    sound = tone(frequency_hz, 0.99)
    expected = reference(sound)
    error = np.abs(encoder.embed(sound[None, :])[0] - expected)
    loud = expected[:128] > expected[:128].max() - 50.0
    assert error[:128][loud].max() < 1e-3
    assert error[:256].max() < 0.05
    assert error[256:].max() < 0.1


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_every_row_of_a_batch_equals_the_reference(batch: int) -> None:
    """Batches of 1, 2 and 3 are right row by row, in the graph itself: other runtimes may use them."""
    sounds = np.stack([noise(0.1, seed) for seed in range(batch)])
    session = onnxruntime.InferenceSession(COMMITTED / "model.onnx", providers=["CPUExecutionProvider"])
    (vectors,) = session.run(["embedding"], {"waveform": sounds})
    np.testing.assert_allclose(vectors, [reference(sound) for sound in sounds], atol=1e-3)


@pytest.mark.recordings
def test_recordings_equal_the_reference(encoder: Encoder, recordings: Path) -> None:
    """Within 0.001 dB on one real clip of each machine."""
    for machine in ("fan", "pump", "slider", "valve"):
        clip = min((recordings / machine / "train").glob("*.flac"))
        sound, rate_hz = soundfile.read(clip, dtype="float32")
        assert (rate_hz, sound.shape) == (16_000, (160_000,))
        np.testing.assert_allclose(encoder.embed(sound[None, :])[0], reference(sound), atol=1e-3)


def test_a_full_scale_sine_reads_0_dbfs(encoder: Encoder) -> None:
    """The first 128 dimensions are levels relative to a full-scale sine, 1 kHz lying in band 47."""
    level = encoder.embed(tone(1000.0, 1.0)[None, :])[0, :128]
    assert int(level.argmax()) == 46
    assert abs(float(level.max())) < 3.0


def test_silence_reads_the_noise_floor_and_no_spread(encoder: Encoder) -> None:
    """Digital silence is -110 dBFS in every band and perfectly steady."""
    vector = encoder.embed(np.zeros((1, SAMPLES), dtype=np.float32))[0]
    np.testing.assert_allclose(vector[:128], -110.0, atol=1e-3)
    np.testing.assert_allclose(vector[128:], 0.0, atol=1e-3)


def test_impacts_stand_out_in_their_own_octave_and_no_other(encoder: Encoder) -> None:
    """Clicks 107 times a second, faint in the noise around 3 kHz: deviations move by 0.3 dB, half the maxima less."""
    still = noise(0.05)
    ring = np.exp(-np.arange(160) / 20) * np.sin(2 * np.pi * 3000 / RATE_HZ * np.arange(160))
    struck = still.copy()
    for at in (np.arange(1, 1069) / 107 * RATE_HZ).astype(int):
        struck[at : at + 160] += (0.05 * ring[: SAMPLES - at]).astype(np.float32)
    before, after = encoder.embed(np.stack([still, struck]))
    gained = after - before
    assert np.median(np.abs(gained[:128])) < 0.3
    assert np.abs(gained[128:256]).max() < 0.3
    rises = gained[256:].reshape(8, 6)  # bands, octaves
    assert np.unravel_index(rises.argmax(), rises.shape) == (5, 4)  # 2.4 to 3.5 kHz, 96 to 180 a second
    assert rises[5, 4] > 10.0
    assert np.abs(rises[:, :4]).max() < 1.5


def test_twice_the_gain_adds_6_db_to_the_levels_only(encoder: Encoder) -> None:
    """Gain moves the maxima by 6.02 dB and leaves spread and peaks."""
    quiet, loud = encoder.embed(np.stack([noise(0.05), 2.0 * noise(0.05)]))
    np.testing.assert_allclose(loud[:128] - quiet[:128], 6.0206, atol=1e-3)
    np.testing.assert_allclose(loud[128:], quiet[128:], atol=1e-3)


@pytest.mark.parametrize("offset", [-0.2, -0.01, 0.01, 0.2])
def test_a_constant_offset_changes_nothing(encoder: Encoder, offset: float) -> None:
    """A converter's DC is not the machine's, be it 40 dB over its sound."""
    sound = noise(0.003) + tone(60.0, 0.01)
    moved = encoder.embed(np.stack([sound, sound + np.float32(offset)]))
    np.testing.assert_allclose(moved[1], moved[0], atol=0.01)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
def test_resamplers_agree(encoder: Encoder, rate_hz: int) -> None:
    """Another filter than the product's moves no band by more than 0.1 dB: the roll-off lies above the bands."""
    sound = np.random.default_rng(4).normal(0.0, 0.05, 10 * rate_hz).astype(np.float32)
    ours = resample(sound, rate_hz, RATE_HZ)
    common = math.gcd(RATE_HZ, rate_hz)
    theirs = resample_poly(sound, RATE_HZ // common, rate_hz // common).astype(np.float32)
    vectors = encoder.embed(np.stack([ours[:SAMPLES], theirs[:SAMPLES]]))
    np.testing.assert_allclose(vectors[1], vectors[0], atol=0.1)
