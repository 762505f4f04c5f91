"""MS-CLAP's audio encoder as one ONNX graph: HTSAT (a Swin transformer over a log-mel picture) and its projection.

The same function as msclap's, arranged for speed. Everything but attention works on each token alone, so the tokens
are kept in the order in which the next block's windows want them: one gather of rows between two blocks replaces roll,
partition, reverse and roll back. A block works on four windows at a time, which fit into the processor's cache.
Position bias and shift mask are one constant, scale is folded into the queries, linear layers are two-dimensional.
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
_TOGETHER = 4  # windows that a block works on at a time: 0.4 MB between the layers of its MLP
_OPSET = 23  # the first with Attention, which ONNX Runtime has since 1.23
# Added to a score across a shifted window's seam: it vanishes in float32's 24 bits, and its exponential is still a
# normal number. That of msclap's -100 is not, and attention took four times as long; with -10000 a third longer.
_HIDDEN = np.float32(-60.0)


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

    @property
    def together(self) -> int:
        """Return how many windows of a picture are worked on at a time."""
        return min(_TOGETHER, (self.side // _WINDOW) ** 2)

    def shift(self, block: int) -> int:
        """Return by how many tokens a block's windows are shifted; a picture of one window has no shifts."""
        return _WINDOW // 2 if block % 2 and self.side > _WINDOW else 0

    def order(self, block: int) -> Order:
        """Return the tokens in the order of a block's windows.

        Window by window; or, where the windows are shifted, the first token of each of those that are worked on
        together, then the second of each, and so on: these windows stand side by side like heads, and each may have a
        mask of its own at any batch.
        """
        picture = np.arange(self.side * self.side).reshape(self.side, self.side)
        shift = self.shift(block)
        rolled = np.roll(picture, (-shift, -shift), axis=(0, 1))
        across = self.side // _WINDOW
        windows = rolled.reshape(across, _WINDOW, across, _WINDOW).transpose(0, 2, 1, 3).reshape(-1, _TOKENS)
        if shift:
            return windows.reshape(-1, self.together, _TOKENS).transpose(0, 2, 1).reshape(-1)
        return windows.reshape(-1)

    def biases(self, block: int) -> NDArray[np.float32]:
        """Return what is added to a block's scores, part by part: (parts, 1, heads of one or all windows, 64, 64)."""
        table = self.weights[f"{self.name}.blocks.{block}.attn.relative_position_bias_table"]  # (15 * 15, heads)
        row, column = np.divmod(np.arange(_TOKENS), _WINDOW)
        apart = (row[:, None] - row + _WINDOW - 1) * (2 * _WINDOW - 1) + column[:, None] - column + _WINDOW - 1
        bias = table[apart].transpose(2, 0, 1)[None]  # (1, heads, 64, 64)
        if not self.shift(block):
            return np.repeat(bias[None], (self.side // _WINDOW) ** 2 // self.together, axis=0)
        band = np.zeros(self.side, dtype=np.int64)  # rows that are neighbours, and those that came round the edge
        band[-_WINDOW:] = 1
        band[-self.shift(block) :] = 2
        region = (3 * band[:, None] + band).reshape(-1)
        across = self.side // _WINDOW
        windows = region.reshape(across, _WINDOW, across, _WINDOW).transpose(0, 2, 1, 3).reshape(-1, _TOKENS)
        mask = np.where(windows[:, :, None] == windows[:, None, :], np.float32(0.0), _HIDDEN)
        by_window = np.asarray(bias + mask[:, None], dtype=np.float32)
        return by_window.reshape(-1, 1, self.together * self.heads, _TOKENS, _TOKENS)

    def block(self, rows: str, block: int) -> str:
        """Return one block's output; `rows` (batch tokens, width) come and go in the order of its windows."""
        graph, tokens = self.graph, self.together * _TOKENS
        biases = self.biases(block)
        if len(biases) == 1:
            return self._part(rows, graph.constant(biases[0]), block)
        flat, part = graph.constant((-1, self.width)), graph.constant((-1, tokens, self.width))

        def work(some: str, bias: str) -> str:
            return graph("Reshape", self._part(graph("Reshape", some, flat), bias, block), part)

        parts = graph("Reshape", rows, (-1, len(biases), tokens, self.width))
        return graph("Reshape", graph.each(work, parts, graph.constant(biases)), flat)

    def _part(self, rows: str, bias: str, block: int) -> str:
        """Return the block's output for the rows of `together` windows of each picture, or of all if it has no more."""
        graph, name = self.graph, f"{self.name}.blocks.{block}"
        normed = graph.layer_norm(rows, self.weights, f"{name}.norm1")
        windows = self.together if self.shift(block) else 1  # side by side
        shape = graph.constant((-1, _TOKENS, windows * self.width))
        query, key, value = (graph("Reshape", part, shape) for part in self._attended(normed, f"{name}.attn.qkv"))
        heads = windows * self.heads
        mixed = graph("Attention", query, key, value, bias, q_num_heads=heads, kv_num_heads=heads, scale=1.0)
        flat = graph("Reshape", mixed, (-1, self.width))
        rows = graph("Add", rows, self._mixed(flat, f"{name}.attn"))
        normed = graph.layer_norm(rows, self.weights, f"{name}.norm2")
        wide = graph.gelu(graph.dense(normed, self.weights, f"{name}.mlp.fc1"))
        return graph("Add", rows, graph.dense(wide, self.weights, f"{name}.mlp.fc2"))

    def _attended(self, rows: str, name: str) -> tuple[str, str, str]:
        """Return the scaled queries, the keys and the values (batch tokens, width) of `rows`.

        The keys' bias adds the same to all scores of a query, and the softmax takes it out again; the values' bias is
        added after mixing. Three products: cutting one that is three times as wide apart took longer.
        """
        query, key, value = np.split(self.weights[f"{name}.weight"], 3)
        scale = np.float32((self.width // self.heads) ** -0.5)
        bias = self.weights[f"{name}.bias"][: self.width]
        linear = self.graph.linear
        return linear(rows, query.T * scale, bias * scale), linear(rows, key.T), linear(rows, value.T)

    def _mixed(self, rows: str, name: str) -> str:
        """Return the projection of what attention mixed; a mean of values with a bias is their mean, and the bias."""
        weight, bias = self.weights[f"{name}.proj.weight"], self.weights[f"{name}.qkv.bias"][-self.width :]
        return self.graph.linear(rows, weight.T, self.weights[f"{name}.proj.bias"] + weight @ bias)

    def merge(self, rows: str, order: Order, wanted: Order) -> str:
        """Join squares of four tokens into one of twice the width, `wanted` being the next stage's order."""
        half = self.side // 2
        row, column = np.divmod(wanted, half)
        corners = [(2 * row + i) * self.side + 2 * column + j for j in (0, 1) for i in (0, 1)]  # msclap's order
        square = np.stack(corners, axis=1).reshape(-1)
        joined = _reordered(self.graph, rows, _moves(order, square), self.width, 4 * self.width)
        normed = self.graph.layer_norm(joined, self.weights, f"{self.name}.downsample.norm")
        return self.graph.linear(normed, self.weights[f"{self.name}.downsample.reduction.weight"].T)


def _moves(order: Order, wanted: Order) -> Order:
    """Return where, among rows that stand in `order`, each of the `wanted` tokens is found."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[wanted]


def _reordered(graph: Graph, rows: str, moves: Order, width: int, new_width: int) -> str:
    """Return `rows` (batch tokens, width), gathered as `moves` says, as rows of `new_width`."""
    by_picture = graph("Reshape", rows, (-1, len(moves), width))
    return graph("Reshape", graph("Gather", by_picture, moves, axis=1), (-1, new_width))


def audio_model(weights: Weights, projection: Weights) -> bytes:
    """Return the audio encoder: `waveform` (batch, 308700) float32 to `embedding` (batch, dim) float32, raw.

    `weights` are the checkpoint's `audio_encoder.base.htsat.*`, `projection` its `audio_encoder.projection.*`.
    Raises BundleError when its front end is not the expected one.
    """
    graph = Graph(_OPSET)
    picture = front_end(graph, weights)  # (batch, 1024 time, 64 bands)
    # The picture is four strips of 256 frames, one below the other; a patch is 4 bands by 4 frames.
    strips = BANDS // _PATCH
    parts = graph("Reshape", picture, (-1, 4, _SIDE, _PATCH, strips, _PATCH))
    patches = graph("Reshape", graph("Transpose", parts, perm=[0, 1, 4, 2, 5, 3]), (-1, _PATCH * _PATCH))
    width = weights["patch_embed.proj.weight"].shape[0]
    stages = [
        _Stage(
            graph, weights, i, width << i, weights[f"layers.{i}.blocks.0.attn.relative_position_bias_table"].shape[1]
        )
        for i in range(4)
    ]
    order = stages[0].order(0)
    patches = _reordered(graph, patches, order, _PATCH * _PATCH, _PATCH * _PATCH)
    kernel = weights["patch_embed.proj.weight"].reshape(width, _PATCH * _PATCH).T
    # MatMul and Add, not `linear`: what reads the picture stays in float32
    rows = graph("MatMul", patches, np.ascontiguousarray(kernel))
    rows = graph("Add", rows, weights["patch_embed.proj.bias"])
    rows = graph.layer_norm(rows, weights, "patch_embed.norm")

    for stage in stages:
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
    tokens = graph("Reshape", normed, (-1, last.side * last.side, last.width))
    heard = graph("ReduceMean", tokens, (1,), keepdims=0)  # (batch, 768)
    graph("Identity", project(graph, heard, projection), output="embedding")
    dim = int(projection["linear1.weight"].shape[0])
    return graph.model("audio", [graph.floats("waveform", "batch", SAMPLES)], [graph.floats("embedding", "batch", dim)])
