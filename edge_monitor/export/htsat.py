"""MS-CLAP's audio encoder as one ONNX graph: HTSAT (a Swin transformer over a log-mel picture) and its projection.

The same function as msclap's, arranged for speed. Everything but attention works on each token alone, so the tokens
are kept in the order in which the next block's windows want them: one gather of rows between two blocks replaces roll,
partition, reverse and roll back. Position bias and shift mask are one constant, scale is folded into the queries,
linear layers are two-dimensional.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.export.front_end import BANDS, SAMPLES, front_end
from edge_monitor.export.gpt2 import project
from edge_monitor.export.graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.export.graph import Weights

    Order = NDArray[np.int64]  # (token,) which token of the picture, row by row, stands at each place

_WINDOW = 8  # tokens per side of an attention window
_SIDE = 64  # tokens per side of the picture at first: 256 pixels in patches of 4
_PATCH = 4
_TOKENS = _WINDOW * _WINDOW  # in a window
_QUERY, _KEY = 0, 1  # their places in msclap's qkv; the value's is 2
# Added to a score across a shifted window's seam. msclap adds -100, whose exponential is a denormal number: nothing to
# the result, but the products with it took nine times as long.
_HIDDEN = np.float32(-1e4)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Blocks of one resolution."""

    graph: Graph
    weights: Weights
    number: int  # 0 to 3
    width: int  # channels
    heads: int

    @property
    def side(self) -> int:
        return _SIDE >> self.number

    @property
    def name(self) -> str:
        return f"layers.{self.number}"

    @property
    def depth(self) -> int:
        return sum(name.startswith(f"{self.name}.") and name.endswith(".norm1.weight") for name in self.weights)

    def shift(self, block: int) -> int:
        """Return by how many tokens a block's windows are shifted; a picture of one window has no shifts."""
        return _WINDOW // 2 if block % 2 and self.side > _WINDOW else 0

    def order(self, block: int) -> Order:
        """Return the tokens in the order of a block's windows."""
        picture = np.arange(self.side * self.side).reshape(self.side, self.side)
        shift = self.shift(block)
        rolled = np.roll(picture, (-shift, -shift), axis=(0, 1))
        across = self.side // _WINDOW
        return rolled.reshape(across, _WINDOW, across, _WINDOW).transpose(0, 2, 1, 3).reshape(-1)

    def bias(self, block: int) -> NDArray[np.float32]:
        """Return what is added to a block's scores: (1 or windows, heads, 64, 64)."""
        table = self.weights[f"{self.name}.blocks.{block}.attn.relative_position_bias_table"]  # (15 * 15, heads)
        row, column = np.divmod(np.arange(_TOKENS), _WINDOW)
        apart = (row[:, None] - row + _WINDOW - 1) * (2 * _WINDOW - 1) + column[:, None] - column + _WINDOW - 1
        bias = table[apart].transpose(2, 0, 1)[None]  # (1, heads, 64, 64)
        if not self.shift(block):
            return np.ascontiguousarray(bias)
        band = np.zeros(self.side, dtype=np.int64)  # rows that are neighbours, and those that came round the edge
        band[-_WINDOW:] = 1
        band[-self.shift(block) :] = 2
        region = (3 * band[:, None] + band).reshape(-1)
        across = self.side // _WINDOW
        windows = region.reshape(across, _WINDOW, across, _WINDOW).transpose(0, 2, 1, 3).reshape(-1, _TOKENS)
        mask = np.where(windows[:, :, None] == windows[:, None, :], np.float32(0.0), _HIDDEN)
        return np.ascontiguousarray(bias + mask[:, None], dtype=np.float32)

    def block(self, rows: str, block: int) -> str:
        """Return one block's output; `rows` (batch tokens, width) come and go in the order of its windows."""
        graph, name = self.graph, f"{self.name}.blocks.{block}"
        normed = graph.layer_norm(rows, self.weights, f"{name}.norm1")
        query, key, value = (self._by_head(normed, f"{name}.attn.qkv", part) for part in range(3))
        scores = graph("MatMul", query, key)
        if self.shift(block):  # the mask is another for each window of the picture
            windows = graph.ints(-1, (self.side // _WINDOW) ** 2, self.heads, _TOKENS, _TOKENS)
            masked = graph("Add", graph("Reshape", scores, windows), graph.constant(self.bias(block)))
            scores = graph("Reshape", masked, graph.ints(-1, self.heads, _TOKENS, _TOKENS))
        else:
            scores = graph("Add", scores, graph.constant(self.bias(block)))
        mixed = graph("Transpose", graph("MatMul", graph.softmax(scores), value), perm=[0, 2, 1, 3])
        flat = graph("Reshape", mixed, graph.ints(-1, self.width))
        rows = graph("Add", rows, self._linear(flat, f"{name}.attn.proj"))
        wide = graph.gelu(self._linear(graph.layer_norm(rows, self.weights, f"{name}.norm2"), f"{name}.mlp.fc1"))
        return graph("Add", rows, self._linear(wide, f"{name}.mlp.fc2"))

    def _by_head(self, rows: str, name: str, part: int) -> str:
        """Return the query (part 0, scaled) or value (2), (batch windows, heads, 64, per head), or the key, turned.

        Three products of `rows`: cutting one that is three times as wide apart took longer.
        """
        per_head = self.width // self.heads
        weight, bias = (np.split(self.weights[f"{name}.{kind}"], 3)[part] for kind in ("weight", "bias"))
        scale = np.float32(per_head**-0.5 if part == _QUERY else 1.0)
        flat = self.graph.linear(rows, weight.T * scale, bias * scale)
        heads = self.graph("Reshape", flat, self.graph.ints(-1, _TOKENS, self.heads, per_head))
        return self.graph("Transpose", heads, perm=[0, 2, 3, 1] if part == _KEY else [0, 2, 1, 3])

    def merge(self, rows: str, order: Order, wanted: Order) -> str:
        """Join squares of four tokens into one of twice the width, `wanted` being the next stage's order."""
        half = self.side // 2
        row, column = np.divmod(wanted, half)
        corners = [(2 * row + i) * self.side + 2 * column + j for j in (0, 1) for i in (0, 1)]  # msclap's order
        square = np.stack(corners, axis=1).reshape(-1)
        joined = _reordered(self.graph, rows, _moves(order, square), self.width, 4 * self.width)
        normed = self.graph.layer_norm(joined, self.weights, f"{self.name}.downsample.norm")
        return self.graph.linear(normed, self.weights[f"{self.name}.downsample.reduction.weight"].T)

    def _linear(self, rows: str, name: str) -> str:
        return self.graph.linear(rows, self.weights[f"{name}.weight"].T, self.weights[f"{name}.bias"])


def _moves(order: Order, wanted: Order) -> Order:
    """Return where, among rows that stand in `order`, each of the `wanted` tokens is found."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[wanted]


def _reordered(graph: Graph, rows: str, moves: Order, width: int, new_width: int) -> str:
    """Return `rows` (batch tokens, width), gathered as `moves` says, as rows of `new_width`."""
    by_picture = graph("Reshape", rows, graph.ints(-1, len(moves), width))
    return graph("Reshape", graph("Gather", by_picture, graph.constant(moves), axis=1), graph.ints(-1, new_width))


def audio_model(weights: Weights, projection: Weights) -> bytes:
    """Return the audio encoder: `waveform` (batch, 308700) float32 to `embedding` (batch, dim) float32, raw.

    `weights` are the checkpoint's `audio_encoder.base.htsat.*`, `projection` its `audio_encoder.projection.*`.
    Raises BundleError when its front end is not the expected one.
    """
    graph = Graph()
    picture = front_end(graph, weights)  # (batch, 1024 time, 64 bands)
    # The picture is four strips of 256 frames, one below the other; a patch is 4 bands by 4 frames.
    strips = BANDS // _PATCH
    parts = graph("Reshape", picture, graph.ints(-1, 4, _SIDE, _PATCH, strips, _PATCH))
    patches = graph("Reshape", graph("Transpose", parts, perm=[0, 1, 4, 2, 5, 3]), graph.ints(-1, _PATCH * _PATCH))
    width = weights["patch_embed.proj.weight"].shape[0]
    kernel = weights["patch_embed.proj.weight"].reshape(width, _PATCH * _PATCH).T
    # MatMul and Add, not `linear`: what reads the picture stays in float32
    rows = graph("MatMul", patches, graph.constant(np.ascontiguousarray(kernel)))
    rows = graph("Add", rows, graph.constant(weights["patch_embed.proj.bias"]))
    rows = graph.layer_norm(rows, weights, "patch_embed.norm")

    stages = [
        _Stage(
            graph, weights, i, width << i, weights[f"layers.{i}.blocks.0.attn.relative_position_bias_table"].shape[1]
        )
        for i in range(4)
    ]
    for stage in stages:
        if stage.number == 0:
            rows, order = _reordered(graph, rows, stage.order(0), width, width), stage.order(0)
        for block in range(stage.depth):
            wanted = stage.order(block)
            if not np.array_equal(order, wanted):
                rows = _reordered(graph, rows, _moves(order, wanted), stage.width, stage.width)
                order = wanted
            rows = stage.block(rows, block)
        if stage.number + 1 < len(stages):
            wanted = stages[stage.number + 1].order(0)
            rows, order = stage.merge(rows, order, wanted), wanted
    last = stages[-1]
    normed = graph.layer_norm(rows, weights, "norm")
    tokens = graph("Reshape", normed, graph.ints(-1, last.side * last.side, last.width))
    heard = graph("ReduceMean", tokens, axes=[1], keepdims=0)  # (batch, 768)
    graph("Identity", project(graph, heard, projection), output="embedding")
    dim = int(projection["linear1.weight"].shape[0])
    return graph.model("audio", [graph.floats("waveform", "batch", SAMPLES)], [graph.floats("embedding", "batch", dim)])
