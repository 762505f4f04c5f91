"""GPT-2 as ONNX graphs: the caption decoder with its cache, and the text encoder.

Weights carry GPT-2's own names (`wte.weight`, `h.0.attn.c_attn.weight` (in, out), …); sizes are read from them.
Shapes in comments: b rows, m prefix positions, n new, p past, s shared by all rows, h heads, d = 64 per head.
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
    cubic = graph("Mul", graph("Pow", tensor, graph.constant(np.float32(3.0))), graph.constant(np.float32(0.044715)))
    inner = graph("Mul", graph("Add", tensor, cubic), graph.constant(np.float32(np.sqrt(2.0 / np.pi))))
    grown = graph("Add", graph("Tanh", inner), graph.constant(np.float32(1.0)))
    return graph("Mul", graph("Mul", tensor, graph.constant(np.float32(0.5))), grown)


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
        return [
            self.graph("Transpose", self.graph("Reshape", part, by_head), perm=[0, 2, 1, 3])
            for part in self.graph.split(self.graph.linear(normed, weight, bias), 3, axis=1)
        ]

    def after_attention(self, rows: str, mixed: str, layer: int) -> str:
        """Add the projected attention `mixed` (b, h, n, d) and the layer's perceptron to `rows` (b n, width)."""
        graph = self.graph
        flat = graph("Reshape", graph("Transpose", mixed, perm=[0, 2, 1, 3]), graph.ints(-1, self.width))
        rows = graph("Add", rows, self._linear(flat, f"h.{layer}.attn.c_proj"))
        normed = graph.layer_norm(rows, self.weights, f"h.{layer}.ln_2")
        wide = _gelu_tanh(graph, self._linear(normed, f"h.{layer}.mlp.c_fc"))
        return graph("Add", rows, self._linear(wide, f"h.{layer}.mlp.c_proj"))

    def _linear(self, rows: str, name: str) -> str:
        return self.graph.linear(rows, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


def _length(graph: Graph, tensor: str, axis: int) -> str:
    """Return a tensor's length along an axis, (1,) int64."""
    return graph("Slice", graph("Shape", tensor), graph.ints(axis), graph.ints(axis + 1))


def _count_from(graph: Graph, start: str, length: str) -> str:
    """Return start, start + 1, … (length,) int64; both are (1,) int64."""
    scalars = [graph("Squeeze", x) for x in (start, graph("Add", start, length))]
    return graph("Range", *scalars, graph.constant(np.int64(1)))


def _causal(graph: Graph, new: str, past: str) -> str:
    """Return what is added to scores (…, n, p + n): 0 where new position i may look, column <= p + i."""
    rows = graph("Unsqueeze", _count_from(graph, past, new), graph.ints(1))
    columns = _count_from(graph, graph.ints(0), graph("Add", past, new))
    later = graph("Greater", columns, rows)
    return graph("Where", later, graph.constant(_HIDDEN), graph.constant(np.float32(0.0)))


def decoder_model(weights: Weights, heads: int = 12) -> bytes:
    """Return the caption decoder: one graph for the prefill and for every step of a beam search.

    Inputs: `prefix` (b, m, width) float32 put before `tokens` (b, t) int64, n = m + t; `shared` (2 layers, 1, h, s,
    d) float32, keys and values that all rows share, key before value; `past` (2 layers, q, h, p, d) float32, those of
    each row, of which `sources` (b,) int64 says which one a row continues; `k` (1,) int64.
    Outputs, for the last position: `log_probs` (b, k) float32, descending, and `token_ids` (b, k) int64; `present`
    (2 layers, b, h, p + n, d) float32. The output layer is the embedding, transposed, as in GPT-2.
    """
    graph = Graph()
    net = _Transformer(graph, weights, heads)
    table = graph.constant(np.asarray(weights["wte.weight"], dtype=np.float32))
    layers, width, per_head = layer_count(weights), net.width, net.per_head

    embedded = graph("Concat", "prefix", graph("Gather", table, "tokens"), axis=1)  # (b, n, width)
    new, past_length, shared_length = (
        _length(graph, embedded, 1),
        _length(graph, "past", 3),
        _length(graph, "shared", 3),
    )
    positions = _count_from(graph, graph("Add", past_length, shared_length), new)
    placed = graph("Gather", graph.constant(np.asarray(weights["wpe.weight"], dtype=np.float32)), positions)
    rows = graph("Reshape", graph("Add", embedded, placed), graph.ints(-1, width))  # (b n, width)
    by_head = graph("Concat", _length(graph, embedded, 0), new, graph.ints(heads, per_head), axis=0)
    mask = _causal(graph, new, past_length)

    pasts = graph.split(graph("Gather", "past", "sources", axis=1), 2 * layers, axis=0)
    shareds = graph.split("shared", 2 * layers, axis=0)
    presents = []
    for layer in range(layers):
        query, *fresh = net.query_key_value(rows, layer, by_head)
        key, value = (
            graph("Concat", graph("Squeeze", pasts[2 * layer + i], graph.ints(0)), fresh[i], axis=2) for i in (0, 1)
        )  # (b, h, p + n, d)
        presents += [graph("Unsqueeze", part, graph.ints(0)) for part in (key, value)]
        shared_key, shared_value = (graph("Squeeze", shareds[2 * layer + i], graph.ints(0)) for i in (0, 1))
        seen = graph("MatMul", query, graph("Transpose", shared_key, perm=[0, 1, 3, 2]))  # (b, h, n, s)
        own = graph("Add", graph("MatMul", query, graph("Transpose", key, perm=[0, 1, 3, 2])), mask)
        attention = graph.softmax(graph("Concat", seen, own, axis=3))
        at_shared = graph("Slice", attention, graph.ints(0), shared_length, graph.ints(3))
        at_own = graph("Slice", attention, shared_length, graph.ints(np.iinfo(np.int64).max), graph.ints(3))
        mixed = graph("Add", graph("MatMul", at_shared, shared_value), graph("MatMul", at_own, value))
        rows = net.after_attention(rows, mixed, layer)
    graph("Concat", *presents, output="present", axis=0)

    three = graph("Concat", _length(graph, embedded, 0), new, graph.ints(width), axis=0)
    last = graph("Gather", graph("Reshape", rows, three), graph.constant(np.int64(-1)), axis=1)  # (b, width)
    logits = graph("Gemm", graph.layer_norm(last, weights, "ln_f"), table, transB=1)
    graph.best(graph("LogSoftmax", logits, axis=-1), "k", ("log_probs", "token_ids"))
    return graph.model(
        "decoder",
        [
            graph.floats("prefix", "rows", "prefix_positions", width),
            graph.integers("tokens", "rows", "token_positions"),
            graph.floats("shared", 2 * layers, 1, heads, "shared_positions", per_head),
            graph.floats("past", 2 * layers, "past_rows", heads, "past_positions", per_head),
            graph.integers("sources", "rows"),
            graph.integers("k", 1),
        ],
        [
            graph.floats("log_probs", "rows", "best"),
            graph.integers("token_ids", "rows", "best"),
            graph.floats("present", 2 * layers, "rows", heads, "present_positions", per_head),
        ],
    )


def text_encoder_model(weights: Weights, projection: Weights, heads: int = 12) -> bytes:
    """Return the text encoder: `tokens` (b, n) int64, padded right with 0, to `embedding` (b, dim) float32, raw.

    The last token's state is projected. As in msclap, it is looked for at the number of non-zero ids less one; so what
    stands to its right does not matter, and neither does how far the tokens are padded.
    """
    graph = Graph()
    net = _Transformer(graph, weights, heads)
    none = graph.ints(0)
    length = _length(graph, "tokens", 1)
    table, places = (graph.constant(np.asarray(weights[f"{name}.weight"], dtype=np.float32)) for name in ("wte", "wpe"))
    placed = graph("Add", graph("Gather", table, "tokens"), graph("Gather", places, _count_from(graph, none, length)))
    rows = graph("Reshape", placed, graph.ints(-1, net.width))
    by_head = graph("Concat", _length(graph, "tokens", 0), length, graph.ints(heads, net.per_head), axis=0)
    mask = _causal(graph, length, none)
    for layer in range(layer_count(weights)):
        query, key, value = net.query_key_value(rows, layer, by_head)
        scores = graph("Add", graph("MatMul", query, graph("Transpose", key, perm=[0, 1, 3, 2])), mask)
        rows = net.after_attention(rows, graph("MatMul", graph.softmax(scores), value), layer)
    three = graph("Concat", _length(graph, "tokens", 0), length, graph.ints(net.width), axis=0)
    used = graph("Cast", graph("Not", graph("Equal", "tokens", graph.constant(np.int64(0)))), to=7)  # int64
    count = graph("ReduceSum", used, graph.ints(1), keepdims=1)
    last = graph("Unsqueeze", graph("Sub", count, graph.ints(1)), graph.ints(2))  # (b, 1, 1)
    index = graph("Expand", last, graph.ints(1, 1, net.width))
    state = graph("Squeeze", graph("GatherElements", graph("Reshape", rows, three), index, axis=1), graph.ints(1))
    graph("Identity", project(graph, graph.layer_norm(state, weights, "ln_f"), projection), output="embedding")
    dim = int(projection["linear1.weight"].shape[0])
    return graph.model("text", [graph.integers("tokens", "batch", "length")], [graph.floats("embedding", "batch", dim)])


def project(graph: Graph, rows: str, weights: Weights) -> str:
    """Return msclap's projection of `rows` (b, in) into the space that sounds and texts share (b, dim)."""
    first = graph.linear(rows, weights["linear1.weight"].T)
    second = graph.linear(graph.gelu(first), weights["linear2.weight"].T)
    return graph.layer_norm(graph("Add", first, second), weights, "layer_norm")
