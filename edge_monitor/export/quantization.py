"""Dynamic int8: every linear layer of a graph computes in 8 bits, everything else stays in float32.

Linear layers are the Gemm nodes, also in the bodies of loops; the front end is made of MatMul and Conv nodes, which are
left alone, for 8 bits ruin the mel filters (a tone's embedding turned around: cosine -0.07). Weights are rounded per
output, inputs per tensor (in a loop, per part) when they are known. The patterns are ONNX's own
operators, which ONNX Runtime fuses when it loads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.export.graph import require_onnx

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

_MATRIX = 2  # dimensions
_TABLE = 10_000  # rows from which a table of tokens is worth rounding
_STEPS = 127.0  # int8 from -127 to 127, so that zero is exact


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
