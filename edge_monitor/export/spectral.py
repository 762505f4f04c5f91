"""The embedded default bundle: log-mel spectrogram pooled over time, as one ONNX graph without trained weights.

How features were chosen, with figures: docs/detection.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 10.0
BANDS = 128
DIM = 2 * BANDS

# The noise a 16-bit converter leaves in one band reads about this. It is added as power, so digital silence gives a
# finite constant, and what lies below the converter's own noise does not move the embedding.
NOISE_FLOOR_DBFS = -110.0

# About half the smallest scatter that the two statistics show over a machine's normals; measured in docs/detection.md.
STANDARDIZATION_FLOOR_DB = 0.35

# 17 is old enough for ONNX Runtime 1.12 and still has the axes of reductions as attributes.
_OPSET = 17
_IR_VERSION = 8

_MANIFEST = """\
# The embedded default bundle, written by `edge-monitor models build spectral`. Change that code, not this file.
schema_version = 1
name = "spectral"
version = "1.0.0"
summary = "Per-band maximum and standard deviation over time of a log-mel spectrogram; no trained weights"
licence = "MIT"
source = "edge_monitor/export/spectral.py"
revision = "1"
abilities = ["audio"]
get = "edge-monitor models build spectral"

[audio]
file = "model.onnx"
input = "waveform"             # (batch, samples) float32, mono, full scale = 1
output = "embedding"           # (batch, dim) float32, dB: {bands} maxima (dBFS), then {bands} standard deviations
sample_rate_hz = {rate}
window_s = {window}
dim = {dim}
short_input = "repeat"

[scoring]
metric = "standardized-euclidean"
standardization_floor = {floor}   # dB, added to each dimension's standard deviation over the normals
normalize = "none"

[[file]]
path = "model.onnx"
part = "audio"
size_bytes = {size}
sha256 = "{sha256}"
"""


def mel_edges_hz(bands: int = BANDS, top_hz: float = SAMPLE_RATE_HZ / 2) -> NDArray[np.float64]:
    """Return the `(bands + 2,)` edges in Hz of triangles spaced evenly on the HTK mel scale from 0 to `top_hz`."""
    top_mel = 2595.0 * np.log10(1.0 + top_hz / 700.0)
    mel = np.linspace(0.0, top_mel, bands + 2)
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0), dtype=np.float64)


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


class _Graph:
    """Nodes and constants of a graph under construction; names count up, so every build gives the same bytes."""

    def __init__(self) -> None:
        import onnx

        self._helper = onnx.helper
        self._numpy = onnx.numpy_helper
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:  # noqa: ANN401 - whatever numpy takes as an array
        name = f"c{len(self.constants)}"
        self.constants.append(self._numpy.from_array(np.asarray(value), name))
        return name

    def __call__(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:  # noqa: ANN401 - ONNX attributes
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(
            self._helper.make_node(op, list(inputs), [name], name=f"{op}_{len(self.nodes)}", **attributes)
        )
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """Which frames are taken and at which frequencies they are looked at."""

    frame: int  # samples; frames overlap by half
    bins: NDArray[np.int64]  # (bin,) frequencies in steps of sample rate / _GRID; 0 Hz and Nyquist have no weight
    width: NDArray[np.float64]  # (bin,) how much of the spectrum a bin stands for, in steps of sample rate / frame


_GRID = 1024  # steps per sample rate: 15.6 Hz
_CROSSOVER = 128  # 2 kHz: above it a triangle spans several bins of a 32 ms frame, below it none or one

# Loudest moment of each band: 64 ms frames, so that one click does not outweigh a squeal.
_LOUDEST = _Spectrum(frame=1024, bins=np.arange(512), width=np.ones(512))
# Unsteadiness of each band: 32 ms frames follow the beating of a machine that 64 ms smear (docs/detection.md).
# Below 2 kHz the frame is zero-padded to the grid, so that each triangle has bins of its own.
_UNSTEADY = _Spectrum(
    frame=512,
    bins=np.concatenate([np.arange(_CROSSOVER), np.arange(_CROSSOVER, 512, 2)]),
    width=np.concatenate([np.full(_CROSSOVER, 0.5), [0.75], np.ones(191)]),
)


def _dft_matrices(graph: _Graph, spectrum: _Spectrum) -> tuple[str, str]:
    """Return names of the `(frame / 2, bin)` cosine and sine matrices; rows are distances from the frame's middle.

    The periodic Hann window is folded in, scaled so that a full-scale sine reads 0 dBFS. They are computed in the
    graph from short tables, in double precision, and become constants when the session loads: the file stays small.
    """
    half = spectrum.frame // 2
    phase = graph(
        "Mod",
        graph("Mul", graph.constant(np.arange(half)[:, None]), graph.constant(spectrum.bins[None, :])),
        graph.ints(_GRID),
    )
    window = 0.5 + 0.5 * np.cos(2.0 * np.pi * np.arange(half) / spectrum.frame)  # Hann, from its middle outwards
    window *= 2.0 / half  # 2 / sum of the window
    window[0] /= 2.0  # the folded frame holds its middle sample twice
    rows = graph.constant(window[:, None])
    turn = 2.0 * np.pi * np.arange(_GRID) / _GRID
    cosine, sine = (
        graph("Cast", graph("Mul", graph("Gather", graph.constant(table), phase), rows), to=1)
        for table in (np.cos(turn), np.sin(turn))
    )
    return cosine, sine


def _mel_matrix(graph: _Graph, spectrum: _Spectrum) -> str:
    """Return the name of the `(bin, bands)` triangles, each with peak 1."""
    edges = mel_edges_hz()
    bins = graph.constant((spectrum.bins * (SAMPLE_RATE_HZ / _GRID))[:, None])
    low, middle, high = (graph.constant(edges[i : i + BANDS][None, :]) for i in range(3))
    rise = graph("Div", graph("Sub", bins, low), graph("Sub", middle, low))
    fall = graph("Div", graph("Sub", high, bins), graph("Sub", high, middle))
    triangles = graph("Max", graph("Min", rise, fall), graph.constant(np.float64(0.0)))
    return graph("Cast", graph("Mul", triangles, graph.constant(spectrum.width[:, None])), to=1)


def _mel_power(graph: _Graph, waveform: str, spectrum: _Spectrum) -> str:
    """Return the name of the `(batch, time, bands)` band powers of frames that overlap by half.

    Each frame is folded around its middle into an even and an odd half, `x[c+m] + x[c-m]` and `x[c+m] - x[c-m]`:
    the cosine sees only the first, the sine only the second, which halves the matrix products.
    """
    hop = spectrum.frame // 2
    frames = int(SAMPLE_RATE_HZ * WINDOW_S) // hop - 1
    axis, shape = graph.ints(1), graph.ints(-1, frames, hop)

    def hops(start: int) -> str:
        stop = start + frames * hop
        return graph("Reshape", graph("Slice", waveform, graph.ints(start), graph.ints(stop), axis), shape)

    after = hops(hop)  # x[c + m], m = 0 … hop - 1
    before = graph("Slice", hops(1), graph.ints(-1), graph.ints(-hop - 1), graph.ints(2), graph.ints(-1))  # x[c - m]
    cosine, sine = _dft_matrices(graph, spectrum)
    even = graph("MatMul", graph("Add", after, before), cosine)  # (batch, time, bin)
    odd = graph("MatMul", graph("Sub", after, before), sine)
    power = graph("Add", graph("Mul", even, even), graph("Mul", odd, odd))
    return graph("MatMul", power, _mel_matrix(graph, spectrum))


def _decibel(graph: _Graph, power: str) -> str:
    """Return the name of 10 log10(power + noise floor)."""
    floor = graph.constant(np.float32(10.0 ** (NOISE_FLOOR_DBFS / 10.0)))
    scale = graph.constant(np.float32(10.0 / np.log(10.0)))
    return graph("Mul", graph("Log", graph("Add", power, floor)), scale)


def build_model() -> bytes:
    """Return the ONNX file: `waveform` (batch, 160000) float32 to `embedding` (batch, 256) float32 in dB.

    The bytes are the same on every machine for one version of the onnx package.
    Raises BundleError when that package is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise BundleError("the onnx package is missing", hint="pip install 'edge-monitor[export]'") from error
    graph = _Graph()
    # log is monotonic: taking the maximum before it spares 40,000 logarithms.
    loudest = graph("ReduceMax", _mel_power(graph, "waveform", _LOUDEST), axes=[1], keepdims=0)
    level = _decibel(graph, loudest)  # (batch, bands), dBFS
    bands = _decibel(graph, _mel_power(graph, "waveform", _UNSTEADY))  # (batch, time, bands), dBFS
    apart = graph("Sub", bands, graph("ReduceMean", bands, axes=[1], keepdims=1))
    spread = graph("Sqrt", graph("ReduceMean", graph("Mul", apart, apart), axes=[1], keepdims=0))  # (batch, bands), dB
    graph("Concat", level, spread, output="embedding", axis=1)

    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "spectral",
            [helper.make_tensor_value_info("waveform", float32, ["batch", int(SAMPLE_RATE_HZ * WINDOW_S)])],
            [helper.make_tensor_value_info("embedding", float32, ["batch", DIM])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="edge-monitor",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def build() -> BuiltBundle:
    """Return the bundle's files; nothing is written. Raises BundleError when onnx is not installed."""
    model = build_model()
    manifest = _MANIFEST.format(
        bands=BANDS,
        rate=SAMPLE_RATE_HZ,
        window=WINDOW_S,
        dim=DIM,
        floor=STANDARDIZATION_FLOOR_DB,
        size=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
    )
    return BuiltBundle(model=model, manifest=manifest.encode())
