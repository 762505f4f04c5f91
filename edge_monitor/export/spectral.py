"""The embedded default bundle: log-mel spectrogram pooled over time, as one ONNX graph without trained weights.

How features were chosen, with figures: docs/detection.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import BundleError
from edge_monitor.explain.spectrogram import mel_edges
from edge_monitor.export.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 10.0
BANDS = 128
ENVELOPE_BANDS = 8  # one for each sub-band of the scorer
RATES_HZ = (6, 12, 24, 48, 96, 180, 250)  # octaves of the envelopes' spectra
DIM = 2 * BANDS + ENVELOPE_BANDS * (len(RATES_HZ) - 1)

# Below, microphones hear little; above lies the roll-off of one resampler or another, which is not the machine's. From
# 50 Hz on, a fan's imbalance (24 Hz) would be heard in 3 of 12 simulated machines, from 20 Hz on in 9.
LOW_HZ, HIGH_HZ = 20.0, 6800.0
ENVELOPE_LOW_HZ = 100.0  # a frame of 8 ms holds less than a period of what is lower

# The noise a 16-bit converter leaves in one band reads about this. It is added as power, so digital silence gives a
# finite constant, and what lies below the converter's own noise does not move the embedding.
NOISE_FLOOR_DBFS = -110.0

# About the scatter of the deviations over a machine's normals (median 0.2 to 0.7 dB on MIMII), so that a band that was
# steadier by chance in a few normals does not rule the distance; maxima scatter by 2 to 5 dB and hardly feel it.
STANDARDIZATION_FLOOR_DB = 0.35
# The same of the peaks (0.65 to 0.95 dB): with less they drown what a squeal moves, with more they hide impacts.
ENVELOPE_FLOOR_DB = 0.7

# Swings of 0.03 dB, added as power: what does not swing at all, silence or a bare tone, has no peak.
_STEADY_DB = 0.03
_DB_PER_E = 10.0 / np.log(10.0)


@dataclass(frozen=True, slots=True)
class BuiltBundle:
    """The two files of the bundle, as bytes."""

    model: bytes
    manifest: bytes

    def write(self, folder: Path) -> None:
        """Write `model.onnx` and `manifest.toml` into `folder`, which is made when missing."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(self.model)
            (folder / "manifest.toml").write_bytes(self.manifest)
        except OSError as error:
            raise BundleError(error.strerror or str(error), where=str(folder), hint="choose another --out") from error


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """Which frames are taken and at which frequencies they are looked at."""

    frame: int  # samples
    hop: int  # samples; an even number of hops makes a frame
    bins: NDArray[np.int64]  # (bin,) frequencies in steps of rate / grid
    grid: int  # steps per rate: a multiple of the frame, which is zero-padded to it

    @property
    def own(self) -> NDArray[np.int64] | None:
        """Return the bins in steps of rate / frame; None when some lie between those."""
        step = self.grid // self.frame
        return None if (self.bins % step).any() else self.bins // step

    def frames(self, samples: int) -> int:
        """Return how many frames lie in so many samples."""
        return (samples - self.frame) // self.hop + 1


@dataclass(frozen=True, slots=True)
class _Mel:
    """Which triangles are laid over a spectrum."""

    low_hz: float
    bands: int
    width: NDArray[np.float64]  # (bin,) how much of the spectrum a bin stands for, in steps of rate / frame


_GRID = 1600  # steps per sample rate: 10 Hz
_CROSSOVER = 200  # 2 kHz: above it a triangle spans several bins of a 20 ms frame, below it none or one

# Every hop divides 100 ms, so that windows can share frames.
# Loudest moment of each band: 50 ms frames, so that one click does not outweigh a squeal.
_LOUDEST = _Spectrum(frame=800, hop=400, bins=np.arange(4, 680, 2), grid=_GRID)
_LOUDEST_MEL = _Mel(LOW_HZ, BANDS, np.ones(338))
# Unsteadiness of each band: 20 ms frames follow the beating of a machine that 50 ms smear (docs/detection.md).
# Below 2 kHz the frame is zero-padded, so that each triangle has bins of its own.
_UNSTEADY = _Spectrum(
    frame=320,
    hop=160,
    bins=np.concatenate([np.arange(4, _CROSSOVER, 2), np.arange(_CROSSOVER, 680, 5)]),
    grid=_GRID,
)
_UNSTEADY_MEL = _Mel(LOW_HZ, BANDS, np.concatenate([np.full(98, 0.4), [0.7], np.ones(95)]))
# Envelopes: 8 ms frames every 2 ms follow impacts up to 250 a second.
_ENVELOPE = _Spectrum(frame=128, hop=32, bins=np.arange(1, 55), grid=128)
_ENVELOPE_MEL = _Mel(ENVELOPE_LOW_HZ, ENVELOPE_BANDS, np.ones(54))
_ENVELOPE_RATE_HZ = SAMPLE_RATE_HZ / _ENVELOPE.hop
_SEGMENT = 1248  # 2.5 s: lines of the envelopes' spectra are 0.4 Hz apart


def _window_samples() -> int:
    return int(SAMPLE_RATE_HZ * WINDOW_S)


def _swings(steps: int) -> _Spectrum:
    """Return how the spectra of envelopes of so many steps are taken: of one segment where there is not more."""
    frame = min(_SEGMENT, steps // 4 * 4)
    slowest = int(np.ceil(RATES_HZ[0] * frame / _ENVELOPE_RATE_HZ))
    return _Spectrum(frame=frame, hop=frame // 2, bins=np.arange(slowest, frame // 2), grid=frame)


def _tables(graph: Graph, grid: int) -> tuple[str, str]:
    """Return names of a turn's cosine and sine in half steps of the grid, `(2 grid,)`."""
    turn = np.pi * np.arange(2 * grid) / grid
    return graph.constant(np.cos(turn).astype(np.float32)), graph.constant(np.sin(turn).astype(np.float32))


def _dft_matrices(
    graph: Graph, tables: tuple[str, str], bins: NDArray[np.int64], rows: int, grid: int
) -> tuple[str, str]:
    """Return names of the `(rows, bin)` cosine and sine matrices; row m lies m + 1/2 samples from the frame's middle.

    They are looked up in the graph in a short table and become constants when the session loads: the file stays small.
    """
    half_samples = graph("Mul", 2 * np.arange(rows)[:, None] + 1, bins[None, :])
    phase = graph("Mod", half_samples, (2 * grid,))
    cosine, sine = (graph("Gather", table, phase) for table in tables)
    return cosine, sine


def _mel_matrix(graph: Graph, spectrum: _Spectrum, mel: _Mel, chosen: NDArray[np.bool_]) -> str:
    """Return the name of the `(chosen bins, bands)` triangles, each with peak 1."""
    edges = mel_edges(mel.low_hz, HIGH_HZ, mel.bands)
    bins_hz = graph.constant((spectrum.bins[chosen] * (SAMPLE_RATE_HZ / spectrum.grid))[:, None])
    low, middle, high = (graph.constant(edges[i : i + mel.bands][None, :]) for i in range(3))
    rise = graph("Div", graph("Sub", bins_hz, low), graph("Sub", middle, low))
    fall = graph("Div", graph("Sub", high, bins_hz), graph("Sub", high, middle))
    triangles = graph("Max", graph("Min", rise, fall), np.float64(0.0))
    return graph("Cast", graph("Mul", triangles, mel.width[chosen][:, None]), to=1)


def _fold(graph: Graph, halves: str, length: int) -> tuple[str, str]:
    """Return `x[m] + x[length - 1 - m]` and their difference, m = 0 … length / 2 - 1, along the last axis."""
    axis = graph.constant((2,))
    head = graph("Slice", halves, (0,), (length // 2,), axis)
    tail = graph("Slice", halves, (-1,), (-length // 2 - 1,), axis, (-1,))
    return graph("Add", head, tail), graph("Sub", head, tail)


def _joined(graph: Graph, parts: Sequence[str]) -> str:
    """Return the parts one after the other along the last axis."""
    return parts[0] if len(parts) == 1 else graph("Concat", *parts, axis=2)


def _halves(graph: Graph, signal: str, samples: int, spectrum: _Spectrum) -> tuple[str, str]:
    """Return the second half of each frame and its first half read backwards, `(batch, time, frame / 2)` both."""
    hop, count = spectrum.hop, spectrum.frames(samples)
    hops = samples // hop
    used = graph("Slice", signal, (0,), (hops * hop,), (1,))
    blocks = graph("Reshape", used, (-1, hops, hop))  # frame i is the blocks from i on
    half = spectrum.frame // hop // 2
    after = [graph("Slice", blocks, (half + i,), (half + i + count,), (1,)) for i in range(half)]
    before = [graph("Slice", blocks, (i, -1), (i + count, -hop - 1), (1, 2), (1, -1)) for i in reversed(range(half))]
    return _joined(graph, after), _joined(graph, before)


def _powers(graph: Graph, signal: str, samples: int, spectrum: _Spectrum) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield names of `(batch, time, bin)` powers of `signal` (batch, samples), and of which bins; a sine of 1 reads 1.

    A DFT by matrix products: about three times faster than the runtime's own STFT. Each frame is folded around its
    middle into a sum and a difference: the cosine sees only the first, the sine only the second, which halves the
    products. The frame's mean, which only the sum has, is taken out before it is windowed. Where all bins are the
    frame's own, the halves fold once more: under m -> half - 1 - m the cosine of an even bin is even and of an odd bin
    odd, the sine the other way round, which halves them again.
    """
    after, before = _halves(graph, signal, samples, spectrum)
    half = spectrum.frame // 2
    hann = np.hanning(spectrum.frame)
    window = graph.constant((2.0 / hann.sum() * hann[half:]).astype(np.float32))
    total = graph("Add", after, before)  # (batch, time, half)
    plus = graph("Mul", graph("Sub", total, graph("ReduceMean", total, axes=[2], keepdims=1)), window)
    minus = graph("Mul", graph("Sub", after, before), window)

    if spectrum.own is not None:
        plus_even, plus_odd = _fold(graph, plus, half)
        minus_even, minus_odd = _fold(graph, minus, half)
        even = spectrum.own % 2 == 0
        parts = [(plus_even, minus_odd, half // 2, even), (plus_odd, minus_even, half // 2, ~even)]
    else:
        parts = [(plus, minus, half, np.ones(len(spectrum.bins), dtype=bool))]
    tables = _tables(graph, spectrum.grid)
    for for_cosine, for_sine, rows, chosen in parts:
        cosine, sine = _dft_matrices(graph, tables, spectrum.bins[chosen], rows, spectrum.grid)
        real = graph("MatMul", for_cosine, cosine)  # (batch, time, bin)
        imaginary = graph("MatMul", for_sine, sine)
        yield graph("Add", graph("Mul", real, real), graph("Mul", imaginary, imaginary)), chosen


def _mel_power(graph: Graph, spectrum: _Spectrum, mel: _Mel) -> str:
    """Return the name of the waveform's `(batch, time, bands)` band powers, a full-scale sine reading 1."""
    bands = [
        graph("MatMul", power, _mel_matrix(graph, spectrum, mel, chosen))
        for power, chosen in _powers(graph, "waveform", _window_samples(), spectrum)
    ]
    return bands[0] if len(bands) == 1 else graph("Add", *bands)


def _peaks(graph: Graph) -> str:
    """Return the name of the `(batch, 48)` peaks: how far each octave's strongest line stands over its median, dB.

    Of the spectra of the 8 bands' levels over time; low bands first, in each band slow rates first. Randall and
    Antoni, Rolling element bearing diagnostics - a tutorial (2011), of the level instead of the amplitude: a gain is
    a constant there, and a loud moment outweighs the others by little.
    """
    levels = _decibel(graph, _mel_power(graph, _ENVELOPE, _ENVELOPE_MEL))  # (batch, time, bands)
    steps = _ENVELOPE.frames(_window_samples())
    spectrum = _swings(steps)
    rows = graph("Reshape", graph("Transpose", levels, perm=[0, 2, 1]), (-1, steps))  # (batch x bands, time)
    powers, chosen = zip(*_powers(graph, rows, steps, spectrum), strict=True)
    bins = np.concatenate([spectrum.bins[each] for each in chosen])
    swings = graph("ReduceMean", _joined(graph, powers), axes=[1], keepdims=0)  # (batch x bands, bin), dB^2
    rates_hz = bins * (_ENVELOPE_RATE_HZ / spectrum.frame)
    peaks = []
    for low_hz, high_hz in pairwise(RATES_HZ):
        inside = np.flatnonzero((rates_hz >= low_hz) & (rates_hz < high_hz))
        octave = graph("Gather", swings, inside, axis=1)
        # The larger half, descending: its first is the largest, its last one or two are the middle of all.
        graph.best(octave, graph.constant((len(inside) // 2 + 1,)), (f"larger_{low_hz}", f"place_{low_hz}"))
        first = graph("Slice", f"larger_{low_hz}", (0,), (1,), (1,))
        middle = graph("Slice", f"larger_{low_hz}", (-1 - (len(inside) + 1) % 2,), (len(inside),), (1,))
        middle = graph("ReduceMean", middle, axes=[1], keepdims=1)
        least = np.float32(_STEADY_DB**2)
        ratio = graph("Div", graph("Add", first, least), graph("Add", middle, least))
        peaks.append(graph("Mul", graph("Log", ratio), np.float32(_DB_PER_E)))
    return graph("Reshape", graph("Concat", *peaks, axis=1), (-1, ENVELOPE_BANDS * len(peaks)))


def _decibel(graph: Graph, power: str) -> str:
    """Return the name of 10 log10(power + noise floor)."""
    floor = graph.constant(np.float32(10.0 ** (NOISE_FLOOR_DBFS / 10.0)))
    return graph("Mul", graph("Log", graph("Add", power, floor)), np.float32(_DB_PER_E))


def build_model() -> bytes:
    """Return the ONNX file: `waveform` (batch, 160000) float32 to `embedding` (batch, 304) float32 in dB.

    The bytes are the same on every machine for one version of the onnx package.
    Raises BundleError when that package is not installed.
    """
    graph = Graph()
    # log is monotonic: taking the maximum before it spares 40,000 logarithms.
    loudest = graph("ReduceMax", _mel_power(graph, _LOUDEST, _LOUDEST_MEL), axes=[1], keepdims=0)
    level = _decibel(graph, loudest)  # (batch, bands), dBFS
    bands = _decibel(graph, _mel_power(graph, _UNSTEADY, _UNSTEADY_MEL))  # (batch, time, bands), dBFS
    apart = graph("Sub", bands, graph("ReduceMean", bands, axes=[1], keepdims=1))
    spread = graph("Sqrt", graph("ReduceMean", graph("Mul", apart, apart), axes=[1], keepdims=0))  # (batch, bands), dB
    graph("Concat", level, spread, _peaks(graph), output="embedding", axis=1)

    return graph.model(
        "spectral",
        [graph.floats("waveform", "batch", _window_samples())],
        [graph.floats("embedding", "batch", DIM)],
    )


def build() -> BuiltBundle:
    """Return the bundle's files; nothing is written. Raises BundleError when onnx is not installed."""
    model = build_model()
    template = Path(__file__).with_suffix(".toml").read_text("utf-8")
    manifest = template.format(
        bands=BANDS,
        rate=SAMPLE_RATE_HZ,
        window=WINDOW_S,
        dim=DIM,
        pooled=2 * BANDS,
        peaks=DIM - 2 * BANDS,
        floor=STANDARDIZATION_FLOOR_DB,
        envelope_floor=ENVELOPE_FLOOR_DB,
        envelope_bands=ENVELOPE_BANDS,
        envelope_low=ENVELOPE_LOW_HZ,
        high=HIGH_HZ,
        rates=list(RATES_HZ),
        size=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
    )
    return BuiltBundle(model=model, manifest=manifest.encode())
