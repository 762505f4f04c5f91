"""The caption mapper as an ONNX graph: a sound's embedding to the prefix that GPT-2 continues.

Weights carry the names of msclap's TransformerMapper (`linear.weight` (out, in), `prefix_const`,
`transformer.layers.0.attn.to_queries.weight`, …); sizes are read from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.export.graph import Graph

if TYPE_CHECKING:
    from edge_monitor.export.graph import Weights


def mapper_model(weights: Weights, heads: int = 8) -> bytes:
    """Return the mapper: `embedding` (batch, dim) float32, normalized by the caller, to `prefix` (batch, m, width)."""
    graph = Graph()
    learnt, width = weights["prefix_const"].shape  # (m, width): the positions that are given back
    mapped = weights["linear.weight"].shape[0] // width
    dim = int(weights["linear.weight"].shape[1])
    length, per_head = mapped + learnt, width // heads
    by_head, flat = graph.ints(-1, length, heads, per_head), graph.ints(-1, width)

    heard = graph.linear("embedding", weights["linear.weight"].T, weights["linear.bias"])
    batch = graph("Slice", graph("Shape", "embedding"), graph.ints(0), graph.ints(1))
    known = graph(
        "Expand",
        graph.constant(weights["prefix_const"][None]),
        graph("Concat", batch, graph.ints(learnt, width), axis=0),
    )
    joined = graph("Concat", graph("Reshape", heard, graph.ints(-1, mapped, width)), known, axis=1)
    rows = graph("Reshape", joined, flat)  # (batch length, width)
    layer = 0
    while f"transformer.layers.{layer}.norm1.weight" in weights:
        name = f"transformer.layers.{layer}"
        normed = graph.layer_norm(rows, weights, f"{name}.norm1")
        # msclap's mapper has no biases here; its scale is folded into the queries
        scaled = weights[f"{name}.attn.to_queries.weight"].T * np.float32(per_head**-0.5)
        every = np.concatenate([scaled, weights[f"{name}.attn.to_keys_values.weight"].T], axis=1)
        query, key, value = (
            graph("Transpose", graph("Reshape", part, by_head), perm=[0, 2, 1, 3])
            for part in graph.split(graph.linear(normed, every), 3, axis=1)
        )  # (batch, heads, length, per_head)
        mixed = graph("Reshape", graph("Transpose", graph.attend(query, key, value), perm=[0, 2, 1, 3]), flat)
        rows = graph("Add", rows, _linear(graph, mixed, weights, f"{name}.attn.project"))
        normed = graph.layer_norm(rows, weights, f"{name}.norm2")
        wide = graph("Relu", _linear(graph, normed, weights, f"{name}.mlp.fc1"))
        rows = graph("Add", rows, _linear(graph, wide, weights, f"{name}.mlp.fc2"))
        layer += 1
    kept = graph(
        "Slice",
        graph("Reshape", rows, graph.ints(-1, length, width)),
        graph.ints(mapped),
        graph.ints(length),
        graph.ints(1),
    )
    graph("Identity", kept, output="prefix")
    return graph.model(
        "mapper", [graph.floats("embedding", "batch", dim)], [graph.floats("prefix", "batch", learnt, width)]
    )


def _linear(graph: Graph, rows: str, weights: Weights, name: str) -> str:
    return graph.linear(rows, weights[f"{name}.weight"].T, weights[f"{name}.bias"])
