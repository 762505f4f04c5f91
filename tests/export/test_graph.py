"""The graph builder's loop over slices, in float32 and in int8."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_monitor.export.graph import Graph
from edge_monitor.export.quantization import quantize

WEIGHT = np.array([[1.0, -2.0], [0.5, 4.0], [3.0, 0.25]], np.float32)


def looped() -> bytes:
    """Return a graph that multiplies parts of `x` (batch, 2 parts, 1 row, 3) with WEIGHT and adds 10 or 20."""
    graph = Graph()

    def work(part: str, offset: str) -> str:
        product = graph.linear(graph("Reshape", part, (-1, 3)), WEIGHT)
        return graph("Reshape", graph("Add", product, offset), (-1, 1, 2))

    graph("Identity", graph.each(work, "x", graph.constant(np.array([[10.0], [20.0]], np.float32))), output="y")
    return graph.model("looped", [graph.floats("x", "batch", 2, 1, 3)], [graph.floats("y", "batch", 2, 1, 2)])


@pytest.mark.parametrize(("eight_bits", "error"), [(False, 1e-6), (True, 0.06)])
def test_each_part_meets_its_own_constant_at_any_batch(*, eight_bits: bool, error: float) -> None:
    """The first part of every row gets the first offset, the second part the second."""
    model = quantize(looped()) if eight_bits else looped()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = np.array([[[[1, 0, 0]], [[0, 1, 0]]], [[[0, 0, 1]], [[1, 1, 1]]]], np.float32)
    (y,) = session.run(None, {"x": x})
    expected = np.array([[[[11, 8]], [[20.5, 24]]], [[[13, 10.25]], [[24.5, 22.25]]]])
    np.testing.assert_allclose(y, expected, atol=error)
    (alone,) = session.run(None, {"x": x[1:]})
    np.testing.assert_allclose(alone, y[1:], atol=error)


def test_int8_reaches_into_a_loop() -> None:
    """No linear layer of a loop's body stays in float32, nor its float weights in the file."""
    graph = onnx.load_model_from_string(quantize(looped())).graph
    (loop,) = [node for node in graph.node if node.op_type == "Scan"]
    body = {node.op_type for attribute in loop.attribute for node in attribute.g.node}
    assert "MatMulInteger" in body
    assert "Gemm" not in body
    assert not [tensor.name for tensor in graph.initializer if list(tensor.dims) == [3, 2] and tensor.data_type == 1]


def test_two_loops_do_not_share_names() -> None:
    """A graph of two loops passes ONNX's checker, and the second sees the first one's result."""
    graph = Graph()
    once = graph.constant(np.ones((2, 1), np.float32))
    first = graph.each(lambda part, one: graph("Add", part, one), "x", once)
    graph("Identity", graph.each(lambda part, one: graph("Add", part, one), first, once), output="y")
    model = graph.model("twice", [graph.floats("x", "batch", 2, 3)], [graph.floats("y", "batch", 2, 3)])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.zeros((1, 2, 3), np.float32)})
    np.testing.assert_array_equal(y, np.full((1, 2, 3), 2.0, np.float32))
