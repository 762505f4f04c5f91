"""GPT-2 as ONNX graphs: the caption decoder with its cache, the text encoder, and the mapper that prefixes a caption.

Weights carry GPT-2's own names (`wte.weight`, `h.0.attn.c_attn.weight` (in, out), …); sizes are read from them.
Shapes in comments: b texts or beams, n new rows or positions, p past ones, h heads, d = 64 per head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.export.graph import Graph

if TYPE_CHECKING:
    from edge_monitor.export.graph import Weights

_HIDDEN = np.float32(-1e9)  # what a position that must not be seen adds to a score


def layer_count(weights: Weights) -> int:
    """Return the number of transformer layers in the weights."""
    return sum(name.startswith("h.") and name.endswith(".ln_1.weight") for name in weights)


def _gelu_tanh(graph: Graph, tensor: str) -> str:
    """Return GPT-2's approximation of GELU, written as ONNX Runtime's fusion knows it."""
    cubic = graph("Mul", graph("Pow", tensor, np.float32(3.0)), np.float32(0.044715))
    inner = graph("Mul", graph("Add", tensor, cubic), np.float32(np.sqrt(2.0 / np.pi)))
    grown = graph("Add", graph("Tanh", inner), np.float32(1.0))
    return graph("Mul", graph("Mul", tensor, np.float32(0.5)), grown)


@dataclass(frozen=True, slots=True)
class _Transformer:
    """GPT-2's blocks; `weights` are named as in the module's docstring."""

    graph: Graph
    weights: Weights
    heads: int

    @property
    def width(self) -> int:
        return int(self.weights["wte.weight"].shape[1])

    @property
    def per_head(self) -> int:
        return self.width // self.heads

    def query_key_value(self, rows: str, layer: int, by_head: str) -> list[str]:
        """Return query (scaled), key and value of `rows` (b n, width), each (b, h, n, d)."""
        weight = np.array(self.weights[f"h.{layer}.attn.c_attn.weight"], dtype=np.float32)
        bias = np.array(self.weights[f"h.{layer}.attn.c_attn.bias"], dtype=np.float32)
        scale = np.float32(self.per_head**-0.5)  # folded into the query
        weight[:, : self.width] *= scale
        bias[: self.width] *= scale
        normed = self.graph.layer_norm(rows, self.weights, f"h.{layer}.ln_1")
        return _by_head(self.graph, self.graph.linear(normed, weight, bias), by_head)

    def after_attention(self, rows: str, mixed: str, layer: int) -> str:
        """Add the projected attention `mixed` (b, h, n, d) and the layer's perceptron to `rows` (b n, width)."""
        graph = self.graph
        flat = graph("Reshape", graph("Transpose", mixed, perm=[0, 2, 1, 3]), (-1, self.width))
        rows = graph("Add", rows, self._linear(flat, f"h.{layer}.attn.c_proj"))
        normed = graph.layer_norm(rows, self.weights, f"h.{layer}.ln_2")
        wide = _gelu_tanh(graph, self._linear(normed, f"h.{layer}.mlp.c_fc"))
        return graph("Add", rows, self._linear(wide, f"h.{layer}.mlp.c_proj"))

    def _linear(self, rows: str, name: str) -> str:
        return self.graph.linear(rows, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


def _by_head(graph: Graph, joined: str, shape: str) -> list[str]:
    """Return query, key and value, joined in each row, as (b, h, n, d); `shape` is (b, n, h, d)."""
    parts = graph.split(joined, 3, axis=1)
    return [graph("Transpose", graph("Reshape", part, shape), perm=[0, 2, 1, 3]) for part in parts]


def _length(graph: Graph, tensor: str, axis: int) -> str:
    """Return a tensor's length along an axis, (1,) int64."""
    return graph("Slice", graph("Shape", tensor), (axis,), (axis + 1,))


def _count_from(graph: Graph, start: str, length: str) -> str:
    """Return start, start + 1, … (length,) int64; both are (1,) int64."""
    scalars = [graph("Squeeze", x) for x in (start, graph("Add", start, length))]
    return graph("Range", *scalars, np.int64(1))


def _causal(graph: Graph, new: str, past: str) -> str:
    """Return what is added to scores (…, n, p + n): 0 where new position i may look, column <= p + i."""
    rows = graph("Unsqueeze", _count_from(graph, past, new), (1,))
    columns = _count_from(graph, graph.constant((0,)), graph("Add", past, new))
    later = graph("Greater", columns, rows)
    return graph("Where", later, _HIDDEN, np.float32(0.0))


def decoder_model(weights: Weights, heads: int = 12) -> bytes:
    """Return the caption decoder: one graph for the prefill and for every step of a beam search.

    The rows that are read form a tree: beams share what they have in common, nothing is copied when they branch, and
    `mask` says which rows a new one descends from.
    Inputs: `prefix` (m, width) float32 put before `tokens` (t,) int64, n = m + t new rows; `positions` (n,) int64; the
    cache of c rows read before, `key_0`, `value_0`, … (1, h, c, d) float32 for each layer; `mask` (n, c + n)
    float32, added to the scores; `ends` (b,) int64, the new rows that are continued; `k` (1,) int64.
    Outputs: for each end `log_probs` (b, k) float32, descending, and `token_ids` (b, k) int64; `fresh` (2 layers, h, n,
    d) float32, the new rows' keys and values in the caches' order. The output layer is the embedding, transposed, as in
    GPT-2.
    """
    graph = Graph()
    net = _Transformer(graph, weights, heads)
    table = graph.constant(np.asarray(weights["wte.weight"], dtype=np.float32))
    places = graph.constant(np.asarray(weights["wpe.weight"], dtype=np.float32))
    layers, width, per_head = layer_count(weights), net.width, net.per_head
    caches = [f"{part}_{layer}" for layer in range(layers) for part in ("key", "value")]

    embedded = graph("Concat", "prefix", graph("Gather", table, "tokens"), axis=0)
    rows, mask = graph("Add", embedded, graph("Gather", places, "positions")), "mask"
    by_head = graph.constant((1, -1, heads, per_head))
    fresh = []
    for layer in range(layers):
        query, key, value = net.query_key_value(rows, layer, by_head)
        fresh += [key, value]
        if layer == layers - 1:  # of the last, only what the ends need
            rows, mask = (graph("Gather", part, "ends", axis=0) for part in (rows, mask))
            query = graph("Gather", query, "ends", axis=2)
        keys, values = (
            graph("Concat", old, new, axis=2)  # (1, h, c + n, d)
            for old, new in zip(caches[2 * layer : 2 * layer + 2], (key, value), strict=True)
        )
        rows = net.after_attention(rows, graph.attend(query, keys, values, mask), layer)
    graph("Concat", *fresh, output="fresh", axis=0)
    logits = graph("Gemm", graph.layer_norm(rows, weights, "ln_f"), table, transB=1)
    graph.best(graph("LogSoftmax", logits, axis=-1), "k", ("log_probs", "token_ids"))
    return graph.model(
        "decoder",
        [
            graph.floats("prefix", "prefix_rows", width),
            graph.integers("tokens", "token_rows"),
            graph.integers("positions", "new_rows"),
            graph.floats("mask", "new_rows", "every_row"),
            graph.integers("ends", "ends"),
            graph.integers("k", 1),
            *(graph.floats(name, 1, heads, "old_rows", per_head) for name in caches),
        ],
        [
            graph.floats("log_probs", "ends", "best"),
            graph.integers("token_ids", "ends", "best"),
            graph.floats("fresh", 2 * layers, heads, "new_rows", per_head),
        ],
    )


def mapper_model(weights: Weights, heads: int = 8) -> bytes:
    """Return the mapper: `embedding` (batch, dim) float32, normalized by the caller, to `prefix` (batch, m, width).

    Weights carry the names of msclap's TransformerMapper (`linear.weight` (out, in), `prefix_const`,
    `transformer.layers.0.attn.to_queries.weight`, …).
    """
    graph = Graph()
    learnt, width = weights["prefix_const"].shape  # (m, width): the positions that are given back
    mapped = weights["linear.weight"].shape[0] // width
    dim = int(weights["linear.weight"].shape[1])
    length, per_head = mapped + learnt, width // heads
    by_head, flat = graph.constant((-1, length, heads, per_head)), graph.constant((-1, width))

    heard = graph.linear("embedding", weights["linear.weight"].T, weights["linear.bias"])
    batch = graph("Slice", graph("Shape", "embedding"), (0,), (1,))
    constant = graph.constant(weights["prefix_const"][None])
    known = graph("Expand", constant, graph("Concat", batch, (learnt, width), axis=0))
    joined = graph("Concat", graph("Reshape", heard, (-1, mapped, width)), known, axis=1)
    rows = graph("Reshape", joined, flat)  # (batch length, width)
    layer = 0
    while f"transformer.layers.{layer}.norm1.weight" in weights:
        name = f"transformer.layers.{layer}"
        normed = graph.layer_norm(rows, weights, f"{name}.norm1")
        # msclap's mapper has no biases here; its scale is folded into the queries
        scaled = weights[f"{name}.attn.to_queries.weight"].T * np.float32(per_head**-0.5)
        every = np.concatenate([scaled, weights[f"{name}.attn.to_keys_values.weight"].T], axis=1)
        query, key, value = _by_head(graph, graph.linear(normed, every), by_head)  # (batch, heads, length, per_head)
        mixed = graph("Reshape", graph("Transpose", graph.attend(query, key, value), perm=[0, 2, 1, 3]), flat)
        rows = graph("Add", rows, graph.dense(mixed, weights, f"{name}.attn.project"))
        normed = graph.layer_norm(rows, weights, f"{name}.norm2")
        wide = graph("Relu", graph.dense(normed, weights, f"{name}.mlp.fc1"))
        rows = graph("Add", rows, graph.dense(wide, weights, f"{name}.mlp.fc2"))
        layer += 1
    kept = graph("Slice", graph("Reshape", rows, (-1, length, width)), (mapped,), (length,), (1,))
    graph("Identity", kept, output="prefix")
    return graph.model(
        "mapper", [graph.floats("embedding", "batch", dim)], [graph.floats("prefix", "batch", learnt, width)]
    )


def text_encoder_model(weights: Weights, projection: Weights, heads: int = 12) -> bytes:
    """Return the text encoder: `tokens` (b, n) int64, padded right with 0, to `embedding` (b, dim) float32, raw.

    The last token's state is projected. As in msclap, it is looked for at the number of non-zero ids less one; so what
    stands to its right does not matter, and neither does how far the tokens are padded.
    """
    graph = Graph()
    net = _Transformer(graph, weights, heads)
    none = graph.constant((0,))
    length = _length(graph, "tokens", 1)
    table, places = (graph.constant(np.asarray(weights[f"{name}.weight"], dtype=np.float32)) for name in ("wte", "wpe"))
    placed = graph("Add", graph("Gather", table, "tokens"), graph("Gather", places, _count_from(graph, none, length)))
    rows = graph("Reshape", placed, (-1, net.width))
    by_head = graph("Concat", _length(graph, "tokens", 0), length, (heads, net.per_head), axis=0)
    mask = _causal(graph, length, none)
    for layer in range(layer_count(weights)):
        query, key, value = net.query_key_value(rows, layer, by_head)
        rows = net.after_attention(rows, graph.attend(query, key, value, mask), layer)
    three = graph("Concat", _length(graph, "tokens", 0), length, (net.width,), axis=0)
    used = graph("Cast", graph("Not", graph("Equal", "tokens", np.int64(0))), to=7)  # int64
    count = graph("ReduceSum", used, (1,), keepdims=1)
    last = graph("Unsqueeze", graph("Sub", count, (1,)), (2,))  # (b, 1, 1)
    index = graph("Expand", last, (1, 1, net.width))
    state = graph("Squeeze", graph("GatherElements", graph("Reshape", rows, three), index, axis=1), (1,))
    graph("Identity", project(graph, graph.layer_norm(state, weights, "ln_f"), projection), output="embedding")
    dim = int(projection["linear1.weight"].shape[0])
    return graph.model("text", [graph.integers("tokens", "batch", "length")], [graph.floats("embedding", "batch", dim)])


def project(graph: Graph, rows: str, weights: Weights) -> str:
    """Return msclap's projection of `rows` (b, in) into the space that sounds and texts share (b, dim)."""
    first = graph.linear(rows, weights["linear1.weight"].T)
    second = graph.linear(graph.gelu(first), weights["linear2.weight"].T)
    return graph.layer_norm(graph("Add", first, second), weights, "layer_norm")
