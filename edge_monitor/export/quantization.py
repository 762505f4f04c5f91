"""The int8 variant of a bundle, and a measurement of both on this box.

In dynamic int8 every linear layer of a graph computes in 8 bits, everything else stays in float32.

Linear layers are the Gemm nodes, also in the bodies of loops; the front end is made of MatMul and Conv nodes, which are
left alone, for 8 bits ruin the mel filters (a tone's embedding turned around: cosine -0.07). Weights are rounded per
output, inputs per tensor (in a loop, per part) when they are known. The patterns are ONNX's own
operators, which ONNX Runtime fuses when it loads them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleError
from edge_monitor.export.assembly import Folder
from edge_monitor.export.graph import require_onnx
from edge_monitor.export.place import alone, building, put_in_place, require_free, require_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from edge_monitor.encode.bundle import Bundle

_MATRIX = 2  # dimensions
_TABLE = 10_000  # rows from which a table of tokens is worth rounding
_STEPS = 127.0  # int8 from -127 to 127, so that zero is exact
SUFFIX = "-int8"
_GET = "edge-monitor models quantize "
# Below this cosine an int8 vector is not taken for the same sound's: the bar this project sets for its own bundle.
ENOUGH = 0.999
_ROUNDS = 12


def quantize(model: bytes) -> bytes:
    """Return an ONNX file whose linear layers compute in int8. Raises BundleError when onnx is not installed."""
    onnx = require_onnx()
    graph = onnx.load_model_from_string(model)
    rewriter = _Rewriter(onnx, {tensor.name: tensor for tensor in graph.graph.initializer})
    for node in graph.graph.node:
        rewriter.add(node)
    used = set(_read(rewriter.nodes))
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(rewriter.nodes)
    graph.graph.initializer.extend([*kept, *rewriter.constants])
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString(deterministic=True))


def _read(nodes: Iterable[Any]) -> Iterator[str]:
    """Yield what nodes and the bodies of their loops read."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            yield from _read(attribute.g.node)


def rounded(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return `weight` (in, out) as int8 with one positive scale per output, `(out,)`."""
    scale = np.maximum(np.abs(weight).max(axis=0) / _STEPS, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


@dataclass(slots=True)
class _Rewriter:
    """The nodes and constants of the new graph, as they come."""

    onnx: Any
    initializers: dict[str, Any]
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: dict[str, list[str]] = field(default_factory=dict)  # what is quantized already: value, scale, zero

    def add(self, node: Any) -> None:  # noqa: ANN401 - an ONNX message
        """Add a node of the old graph, or what takes its place."""
        for attribute in node.attribute:
            if attribute.HasField("g"):  # a loop's body
                body = _Rewriter(self.onnx, self.initializers, constants=self.constants)
                for inner in attribute.g.node:
                    body.add(inner)
                del attribute.g.node[:]
                attribute.g.node.extend(body.nodes)
        at = {"Gemm": 1, "Gather": 0}.get(node.op_type)
        weight = None if at is None else self.initializers.get(node.input[at])
        if weight is not None and node.op_type == "Gemm":
            self._multiply(node, weight)
        elif weight is not None and len(weight.dims) == _MATRIX and weight.data_type == 1 and weight.dims[0] >= _TABLE:
            self._look_up(node, weight)
        else:
            self.nodes.append(node)

    def _look_up(self, node: Any, table: Any) -> None:  # noqa: ANN401 - as above
        """Gather rows of a token table, rounded per row: beside the output layer it would be the largest float."""
        whole, scale = rounded(self.onnx.numpy_helper.to_array(table).T)
        name, ids = node.output[0], node.input[1]
        row = self._node("Gather", [self._constant(f"{name}_t", whole.T), ids], f"{name}_r")
        factor = self._node("Gather", [self._constant(f"{name}_s", scale[:, None]), ids], f"{name}_m")
        self._node("Mul", [self._node("Cast", [row], f"{name}_f", to=1), factor], name)

    def _multiply(self, node: Any, weight: Any) -> None:  # noqa: ANN401 - as above
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        matrix = self.onnx.numpy_helper.to_array(weight)
        whole, scale = rounded(matrix.T if transposed else matrix)
        value, input_scale, zero = self._quantized(node.input[0])
        name = node.output[0]
        factors = [value, self._constant(f"{name}_w", whole), zero]
        factors.append(self._constant(f"{name}_z", np.zeros(len(scale), np.int8)))
        product = self._node("MatMulInteger", factors, f"{name}_i")
        both = self._node("Mul", [input_scale, self._constant(f"{name}_s", scale)], f"{name}_m")
        floats = self._node("Cast", [product], f"{name}_f", to=1)
        bias = node.input[2:]
        if bias:
            self._node("Add", [self._node("Mul", [floats, both], f"{name}_p"), *bias], name)
        else:
            self._node("Mul", [floats, both], name)

    def _quantized(self, value: str) -> list[str]:
        if value not in self.inputs:
            names = [f"{value}_q", f"{value}_qs", f"{value}_qz"]
            self.nodes.append(self.onnx.helper.make_node("DynamicQuantizeLinear", [value], names, name=f"{value}_dq"))
            self.inputs[value] = names
        return self.inputs[value]

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 - ONNX attributes
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [output], name=f"{output}_{op}", **attributes))
        return output

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """Two bundles side by side on this box, one thread, rounds taking turns."""

    float_ms: float  # median per window
    int8_ms: float
    cosine: float  # smallest between the two vectors of a sound, over noise, tones and silence
    float_bytes: int  # of all files
    int8_bytes: int

    @property
    def advice(self) -> str:
        """Say which of the two to take on this box, and why."""
        if self.cosine < ENOUGH:
            return f"take the float bundle: int8 turns vectors too far (cosine {self.cosine:.4f}, {ENOUGH} wanted)"
        if self.int8_ms > self.float_ms:
            return f"take the float bundle: int8 is slower here ({self.float_ms / self.int8_ms:.2f} x as fast)"
        return f"take int8: {self.float_ms / self.int8_ms:.1f} x as fast here, cosine {self.cosine:.4f}"


def quantize_bundle(bundle: Bundle, out: Path, say: Callable[[str], None]) -> Bundle:
    """Write the int8 variant of a whole bundle to `out`, whose name becomes the variant's; return it.

    Raises BundleError when the bundle is not whole, has nothing to quantize, or the disk cannot take it.
    """
    require_onnx()
    if (bundle.manifest.get or "").startswith(_GET):
        raise BundleError("is int8 already", where=bundle.name, hint="take it as it is")
    if out.resolve() == bundle.folder.resolve():
        raise BundleError("is the bundle that is read", where=str(out), hint="choose another --out")
    get = _GET + bundle.name
    with alone(out):
        require_free(out, out.name, get)
        bundle.verify()
        require_space(out, _size(bundle) // 2)
        with building(out, out.name) as work:
            folder = _quantized(bundle, work, say)
            update = {"name": out.name, "summary": f"{bundle.manifest.summary}; int8", "get": get}
            folder.finish(bundle.manifest.model_copy(update=update))
            open_bundle(work).verify()
            put_in_place(work, out)
    return open_bundle(out)


def _quantized(bundle: Bundle, work: Path, say: Callable[[str], None]) -> Folder:
    """Write every file of the bundle into `work`, its graphs in int8."""
    folder = Folder(work)
    smaller = False
    for file in bundle.manifest.file:
        content = bundle.read_verified(file)
        if Path(file.path).suffix == ".onnx":
            say(file.path)
            content = quantize(content)
            smaller |= len(content) < (file.size_bytes or 0)
        (work / file.path).parent.mkdir(parents=True, exist_ok=True)
        folder.write(file.path, file.part, content)
    if not smaller:
        raise BundleError("has no linear layers to quantize", where=bundle.name, hint="take it as it is")
    return folder


def compare(original: Bundle, variant: Bundle) -> VariantComparison:
    """Run both encoders on the same sounds. Raises as Encoder."""
    encoders = (Encoder(original), Encoder(variant))
    sounds = _sounds(encoders[0].window_samples, encoders[0].sample_rate_hz)
    vectors = [np.concatenate([encoder.embed(sound[None]) for sound in sounds]) for encoder in encoders]
    times_s: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS):
        for encoder, spent in zip(encoders, times_s, strict=True):
            begun = time.perf_counter()
            encoder.embed(sounds[turn % len(sounds)][None])
            spent.append(time.perf_counter() - begun)
    lengths = [np.linalg.norm(rows, axis=1) for rows in vectors]
    cosines = (vectors[0] * vectors[1]).sum(axis=1) / (lengths[0] * lengths[1])
    return VariantComparison(
        float_ms=1e3 * float(np.median(times_s[0])),
        int8_ms=1e3 * float(np.median(times_s[1])),
        cosine=float(cosines.min()),
        float_bytes=_size(original),
        int8_bytes=_size(variant),
    )


def _size(bundle: Bundle) -> int:
    return sum(file.size_bytes or 0 for file in bundle.manifest.file)


def _sounds(samples: int, rate_hz: int) -> NDArray[np.float32]:
    """Return noise, tones in faint noise, and silence, (sound, samples)."""
    generator = np.random.default_rng(8)
    time_s = np.arange(samples) / rate_hz
    tones = [0.3 * np.sin(2.0 * np.pi * hz * time_s) + generator.normal(0.0, 1e-4, samples) for hz in (120.0, 1700.0)]
    noise = [generator.normal(0.0, level, samples) for level in (0.1, 0.003)]
    return np.stack([*noise, *tones, np.zeros(samples)]).astype(np.float32)
