"""The embedded default bundle: log-mel spectrogram pooled over time, as one ONNX graph without trained weights.

How features were chosen, with figures: docs/detection.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import BundleError
from edge_monitor.explain.spectrogram import mel_edges
from edge_monitor.export.graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 10.0
BANDS = 128
DIM = 2 * BANDS

# Below, microphones hear little; above lies the roll-off of one resampler or another, which is not the machine's. From
# 50 Hz on, a fan's imbalance (24 Hz) would be heard in 3 of 12 simulated machines, from 20 Hz on in 9.
LOW_HZ, HIGH_HZ = 20.0, 6800.0

# The noise a 16-bit converter leaves in one band reads about this. It is added as power, so digital silence gives a
# finite constant, and what lies below the converter's own noise does not move the embedding.
NOISE_FLOOR_DBFS = -110.0

# About the scatter of the deviations over a machine's normals (median 0.2 to 0.7 dB on MIMII), so that a band that was
# steadier by chance in a few normals does not rule the distance; maxima scatter by 2 to 5 dB and hardly feel it.
STANDARDIZATION_FLOOR_DB = 0.35


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

    frame: int  # samples; frames overlap by half, and that hop divides 100 ms
    bins: NDArray[np.int64]  # (bin,) frequencies in steps of sample rate / _GRID
    width: NDArray[np.float64]  # (bin,) how much of the spectrum a bin stands for, in steps of sample rate / frame

    @property
    def own(self) -> NDArray[np.int64] | None:
        """Return the bins in steps of sample rate / frame; None when some lie between those."""
        step = _GRID // self.frame
        return None if (self.bins % step).any() else self.bins // step


_GRID = 1600  # steps per sample rate: 10 Hz
_CROSSOVER = 200  # 2 kHz: above it a triangle spans several bins of a 20 ms frame, below it none or one

# Loudest moment of each band: 50 ms frames, so that one click does not outweigh a squeal.
_LOUDEST = _Spectrum(frame=800, bins=np.arange(4, 680, 2), width=np.ones(338))
# Unsteadiness of each band: 20 ms frames follow the beating of a machine that 50 ms smear (docs/detection.md).
# Below 2 kHz the frame is zero-padded, so that each triangle has bins of its own.
_UNSTEADY = _Spectrum(
    frame=320,
    bins=np.concatenate([np.arange(4, _CROSSOVER, 2), np.arange(_CROSSOVER, 680, 5)]),
    width=np.concatenate([np.full(98, 0.4), [0.7], np.ones(95)]),
)


def _dft_matrices(graph: Graph, bins: NDArray[np.int64], rows: int) -> tuple[str, str]:
    """Return names of the `(rows, bin)` cosine and sine matrices; row m lies m + 1/2 samples from the frame's middle.

    They are looked up in the graph in a short table and become constants when the session loads: the file stays small.
    """
    half_samples = graph("Mul", 2 * np.arange(rows)[:, None] + 1, bins[None, :])
    phase = graph("Mod", half_samples, (2 * _GRID,))
    turn = np.pi * np.arange(2 * _GRID) / _GRID
    cosine, sine = (graph("Gather", table.astype(np.float32), phase) for table in (np.cos(turn), np.sin(turn)))
    return cosine, sine


def _mel_matrix(graph: Graph, bins: NDArray[np.int64], width: NDArray[np.float64]) -> str:
    """Return the name of the `(bin, bands)` triangles, each with peak 1."""
    edges = mel_edges(LOW_HZ, HIGH_HZ, BANDS)
    bins_hz = graph.constant((bins * (SAMPLE_RATE_HZ / _GRID))[:, None])
    low, middle, high = (graph.constant(edges[i : i + BANDS][None, :]) for i in range(3))
    rise = graph("Div", graph("Sub", bins_hz, low), graph("Sub", middle, low))
    fall = graph("Div", graph("Sub", high, bins_hz), graph("Sub", high, middle))
    triangles = graph("Max", graph("Min", rise, fall), np.float64(0.0))
    return graph("Cast", graph("Mul", triangles, width[:, None]), to=1)


def _fold(graph: Graph, halves: str, length: int) -> tuple[str, str]:
    """Return `x[m] + x[length - 1 - m]` and their difference, m = 0 … length / 2 - 1, along the last axis."""
    axis = graph.constant((2,))
    head = graph("Slice", halves, (0,), (length // 2,), axis)
    tail = graph("Slice", halves, (-1,), (-length // 2 - 1,), axis, (-1,))
    return graph("Add", head, tail), graph("Sub", head, tail)


def _mel_power(graph: Graph, waveform: str, spectrum: _Spectrum) -> str:
    """Return the name of the `(batch, time, bands)` band powers, a full-scale sine reading 1.

    A DFT by matrix products: about three times faster than the runtime's own STFT. Each frame is folded around its
    middle into a sum and a difference: the cosine sees only the first, the sine only the second, which halves the
    products. The frame's mean, which only the sum has, is taken out before it is windowed. Where all bins are the
    frame's own, the halves fold once more: under m -> half - 1 - m the cosine of an even bin is even and of an odd bin
    odd, the sine the other way round, which halves them again.
    """
    hop = spectrum.frame // 2
    hops = int(SAMPLE_RATE_HZ * WINDOW_S) // hop
    used = graph("Slice", waveform, (0,), (hops * hop,), (1,))
    blocks = graph("Reshape", used, (-1, hops, hop))  # frame i is block i and block i + 1
    after = graph("Slice", blocks, (1,), (hops,), (1,))
    before = graph("Slice", blocks, (0, -1), (-1, -hop - 1), (1, 2), (1, -1))
    hann = np.hanning(spectrum.frame)
    window = graph.constant((2.0 / hann.sum() * hann[hop:]).astype(np.float32))
    total = graph("Add", after, before)  # (batch, time, hop)
    plus = graph("Mul", graph("Sub", total, graph("ReduceMean", total, axes=[2], keepdims=1)), window)
    minus = graph("Mul", graph("Sub", after, before), window)

    if spectrum.own is not None:
        plus_even, plus_odd = _fold(graph, plus, hop)
        minus_even, minus_odd = _fold(graph, minus, hop)
        even = spectrum.own % 2 == 0
        parts = [(plus_even, minus_odd, hop // 2, even), (plus_odd, minus_even, hop // 2, ~even)]
    else:
        parts = [(plus, minus, hop, np.ones(len(spectrum.bins), dtype=bool))]
    bands = []
    for for_cosine, for_sine, rows, chosen in parts:
        cosine, sine = _dft_matrices(graph, spectrum.bins[chosen], rows)
        real = graph("MatMul", for_cosine, cosine)  # (batch, time, bin)
        imaginary = graph("MatMul", for_sine, sine)
        power = graph("Add", graph("Mul", real, real), graph("Mul", imaginary, imaginary))
        bands.append(graph("MatMul", power, _mel_matrix(graph, spectrum.bins[chosen], spectrum.width[chosen])))
    return bands[0] if len(bands) == 1 else graph("Add", *bands)


def _decibel(graph: Graph, power: str) -> str:
    """Return the name of 10 log10(power + noise floor)."""
    floor = graph.constant(np.float32(10.0 ** (NOISE_FLOOR_DBFS / 10.0)))
    scale = graph.constant(np.float32(10.0 / np.log(10.0)))
    return graph("Mul", graph("Log", graph("Add", power, floor)), scale)


def build_model() -> bytes:
    """Return the ONNX file: `waveform` (batch, 160000) float32 to `embedding` (batch, 256) float32 in dB.

    The bytes are the same on every machine for one version of the onnx package.
    Raises BundleError when that package is not installed.
    """
    graph = Graph()
    # log is monotonic: taking the maximum before it spares 40,000 logarithms.
    loudest = graph("ReduceMax", _mel_power(graph, "waveform", _LOUDEST), axes=[1], keepdims=0)
    level = _decibel(graph, loudest)  # (batch, bands), dBFS
    bands = _decibel(graph, _mel_power(graph, "waveform", _UNSTEADY))  # (batch, time, bands), dBFS
    apart = graph("Sub", bands, graph("ReduceMean", bands, axes=[1], keepdims=1))
    spread = graph("Sqrt", graph("ReduceMean", graph("Mul", apart, apart), axes=[1], keepdims=0))  # (batch, bands), dB
    graph("Concat", level, spread, output="embedding", axis=1)

    return graph.model(
        "spectral",
        [graph.floats("waveform", "batch", int(SAMPLE_RATE_HZ * WINDOW_S))],
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
        floor=STANDARDIZATION_FLOOR_DB,
        size=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
    )
    return BuiltBundle(model=model, manifest=manifest.encode())
