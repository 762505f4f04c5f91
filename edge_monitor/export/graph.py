"""An ONNX graph under construction: nodes, constants and the few blocks that every network here is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Weights = Mapping[str, NDArray[np.float32]]
    Input = str | tuple[int, ...] | NDArray[Any] | np.generic  # a name, or a constant; a tuple is int64

# 17 is old enough for ONNX Runtime 1.12, has LayerNormalization and still the axes of reductions as attributes.
OPSET = 17
_OPSET_OF_GELU = 20


def require_onnx() -> Any:  # noqa: ANN401 - onnx ships no types
    """Return the onnx module. Raises BundleError when that package is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise BundleError("the onnx package is missing", hint="pip install 'edge-monitor[export]'") from error
    return onnx


class Graph:
    """Nodes and constants of a graph; names count up, so every build gives the same bytes."""

    def __init__(self, opset: int = OPSET) -> None:
        self._onnx = require_onnx()
        self.opset = opset
        self._inside = ""  # prefix of the names in a loop's body, while it is made
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Input) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def __call__(self, op: str, *inputs: Input, output: str | None = None, **attributes: Any) -> str:  # noqa: ANN401 - ONNX attributes
        """Add a node with one output and return the output's name."""
        return self._node(op, inputs, [output or f"{self._inside}v{len(self.nodes)}"], **attributes)

    def _node(self, op: str, inputs: Sequence[Input], outputs: list[str], **attributes: Any) -> str:  # noqa: ANN401 - as above
        """Add a node and return its first output's name."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        name = f"{self._inside}{op}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(op, names, outputs, name=name, **attributes))
        return outputs[0]

    def each(self, work: Callable[[str, str], str], tensor: str, other: str) -> str:
        """Return `work` of each slice of `tensor` along axis 1 and of `other` along axis 0, joined along axis 1.

        The slices, all float32, go through one after another, so that what lies between their layers stays in the
        processor's cache.
        """
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        outside, self.nodes, self._inside = self.nodes, [], f"body{len(self.nodes)}_"
        slices = [f"{self._inside}{name}" for name in ("tensor", "other")]
        result = work(*slices)
        ports = [helper.make_tensor_value_info(name, kind, None) for name in (*slices, result)]
        body = helper.make_graph(self.nodes, self._inside.rstrip("_"), ports[:2], ports[2:])
        self.nodes, self._inside = outside, ""
        return self("Scan", tensor, other, body=body, num_scan_inputs=2, scan_input_axes=[1, 0], scan_output_axes=[1])

    def split(self, tensor: str, parts: int, axis: int) -> list[str]:
        """Return `parts` equal slices of a tensor along an axis."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(parts)]
        self._node("Split", [tensor], names, axis=axis)
        return names

    def best(self, tensor: str, k: str, outputs: tuple[str, str]) -> None:
        """Add TopK along the last axis: the `k` largest values, descending, and their indices."""
        self._node("TopK", [tensor, k], list(outputs), axis=-1)

    def linear(self, rows: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """Return `rows @ weight (+ bias)`, rows (…, in) being two-dimensional and weight (in, out).

        Only what is made here is quantized later; a plain MatMul stays in float32.
        """
        biases = [] if bias is None else [np.asarray(bias, dtype=np.float32)]
        return self("Gemm", rows, np.ascontiguousarray(weight, dtype=np.float32), *biases)

    def dense(self, rows: str, weights: Weights, name: str) -> str:
        """Return what torch's linear layer makes of `rows`: its `{name}.weight` is (out, in)."""
        return self.linear(rows, weights[f"{name}.weight"].T, weights[f"{name}.bias"])

    def layer_norm(self, rows: str, weights: Weights, name: str) -> str:
        """Normalize the last axis with the weights `{name}.weight` and `{name}.bias`."""
        scale, shift = (weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return self("LayerNormalization", rows, scale, shift, epsilon=1e-5)

    def gelu(self, tensor: str) -> str:
        """Return x Φ(x); before opset 20 in pieces, written as ONNX Runtime's fusion knows them."""
        if self.opset >= _OPSET_OF_GELU:
            return self("Gelu", tensor)
        error = self("Erf", self("Div", tensor, np.float32(np.sqrt(2.0))))
        grown = self("Mul", tensor, self("Add", error, np.float32(1.0)))
        return self("Mul", grown, np.float32(0.5))

    def attend(self, query: str, key: str, value: str, mask: str | None = None) -> str:
        """Return the values (…, n, d), mixed as queries and keys say; `mask` is added to their scores (…, n, n)."""
        scores = self("MatMul", query, self("Transpose", key, perm=[0, 1, 3, 2]))
        if mask is not None:
            scores = self("Add", scores, mask)
        return self("MatMul", self("Softmax", scores, axis=-1), value)

    def model(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> bytes:
        """Return the ONNX file. The bytes are the same on every machine for one version of the onnx package."""
        helper = self._onnx.helper
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.constants),
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="edge-monitor",
        )
        self._onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def floats(self, name: str, *shape: int | str) -> Any:  # noqa: ANN401 - an ONNX message
        """Return the declaration of a float32 input or output."""
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, list(shape))

    def integers(self, name: str, *shape: int | str) -> Any:  # noqa: ANN401 - an ONNX message
        """Return the declaration of an int64 input or output."""
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.INT64, list(shape))
