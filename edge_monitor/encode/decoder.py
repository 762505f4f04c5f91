"""The caption decoder: a GPT-2 with a cache of what it has read, run by ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.encode.beam import BEAMS, Offers
from edge_monitor.encode.session import open_session, run
from edge_monitor.errors import BundleMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.encode.beam import Continuation
    from edge_monitor.encode.bundle import Bundle

_INPUTS = ("prefix", "tokens", "positions", "mask", "ends", "k")  # and the caches, key_0, value_0, …
_OUTPUTS = ["log_probs", "token_ids", "fresh"]
_CACHE_RANK = 4  # (1, head, row, width of a head)
_ROOM = 64  # rows by which a cache grows
_HIDDEN = np.float32(-1e9)  # what a row that must not be seen adds to a score


class Decoder:
    """One graph for reading a prefix and for each step; docs/bundles.md describes it. Holds most of the memory.

    Raises BundleMismatchError when the session has other inputs than such a graph.
    """

    def __init__(self, session: Any, where: str) -> None:  # noqa: ANN401 - onnxruntime ships no types
        self.where = where
        self._session = session
        shapes = {port.name: port.shape for port in session.get_inputs()}
        outputs = {port.name for port in session.get_outputs()}
        layers = (len(shapes) - len(_INPUTS)) // 2
        self._caches = [f"{part}_{layer}" for layer in range(layers) for part in ("key", "value")]
        ranks = {len(shapes.get(name, ())) for name in self._caches}
        if set(shapes) != {*_INPUTS, *self._caches} or outputs != set(_OUTPUTS) or ranks != {_CACHE_RANK}:
            raise BundleMismatchError("is not a caption decoder", where=where, hint="see docs/bundles.md")
        self._width = int(shapes["prefix"][1])
        _, heads, _, head_width = shapes["key_0"]
        self._heads = (int(heads), int(head_width))

    @classmethod
    def open(cls, bundle: Bundle, model: str, threads: int) -> Decoder:
        """Return the decoder of a bundle's file. Raises BundleError when it cannot be loaded."""
        session = open_session(bundle, model, threads, keep_buffers=True)
        return cls(session, str(bundle.folder / model))

    def cache(self) -> list[NDArray[np.float32]]:
        """Return an empty cache: keys and values of each layer, each (1, head, row, head width)."""
        heads, head_width = self._heads
        return [np.zeros((1, heads, 0, head_width), dtype=np.float32) for _ in self._caches]

    def no_prefix(self) -> NDArray[np.float32]:
        """Return a prefix without rows, (0, width)."""
        return np.zeros((0, self._width), dtype=np.float32)

    def run(
        self, choices: int, cache: list[NDArray[np.float32]], **inputs: NDArray[Any]
    ) -> tuple[Offers, NDArray[np.float32]]:
        """Return what may follow the ends, and the new rows' part of the cache, (2 x layer, head, row, head width).

        Inputs as in docs/bundles.md.
        """
        feed = {**inputs, **dict(zip(self._caches, cache, strict=True)), "k": np.array([choices], dtype=np.int64)}
        log_probs, tokens, fresh = run(self._session, _OUTPUTS, feed, where=self.where)
        return Offers(tokens, log_probs), fresh


class CaptionDecoding:
    """Captions in the making, decoded together so that the weights are read once for all; see `beam.Decoding`.

    `prefixes` are (caption, position, width) float32; `forced` are tokens each caption begins with. What is read is a
    tree of rows for each caption: its prefix and the forced tokens are the trunk, and each step adds a row to each
    beam. No row sees another caption's.
    """

    def __init__(self, decoder: Decoder, prefixes: NDArray[np.float32], forced: Sequence[int] = ()) -> None:
        self._decoder = decoder
        self._prefixes = prefixes
        self._forced = np.array(forced, dtype=np.int64)
        self._cache = decoder.cache()  # its last rows may be free
        self._seen = np.ones((0, 0), dtype=bool)  # (beam, row read): whether the beam descends from it
        self._first: dict[int, int] = {}  # caption: its first beam
        self._position = 0  # of the next token

    def start(self) -> list[Offers]:
        """Read the prefixes and the forced tokens."""
        captions, prefix, width = self._prefixes.shape
        texts = np.arange(captions)[:, None]
        trunk = np.arange(prefix + len(self._forced))  # positions
        # The graph reads all prefixes before any token.
        owners, positions = (
            np.concatenate([np.ravel(part[:, :prefix]), np.ravel(part[:, prefix:])])
            for part in np.broadcast_arrays(texts, trunk)
        )
        self._position = len(trunk)
        return self._read(
            (owners[:, None] == owners) & (positions[:, None] >= positions),
            dict.fromkeys(range(captions), 1),
            prefix=self._prefixes.reshape(-1, width),
            tokens=np.tile(self._forced, captions),
            positions=positions,
            ends=np.flatnonzero(positions == trunk[-1]),
        )

    def step(self, continuations: Sequence[Continuation]) -> list[Offers]:
        """Continue the beams by a token each."""
        tokens = np.concatenate([each.tokens for each in continuations])
        sources = np.concatenate([self._first[each.caption] + each.sources for each in continuations])
        position, self._position = self._position, self._position + 1
        return self._read(
            np.concatenate([self._seen[sources], np.eye(len(tokens), dtype=bool)], axis=1),
            {each.caption: len(each.tokens) for each in continuations},
            prefix=self._decoder.no_prefix(),
            tokens=tokens,
            positions=np.full(len(tokens), position),
            ends=np.arange(len(tokens)),
        )

    def _read(
        self, seen: NDArray[np.bool_], beams: dict[int, int], *, ends: NDArray[np.int64], **inputs: NDArray[Any]
    ) -> list[Offers]:
        """Read new rows, which see rows (new, old + new), and return the offers of each caption's `beams`."""
        new, every = seen.shape
        old, room = every - new, self._cache[0].shape[2]
        mask = np.full((new, room + new), _HIDDEN)
        mask[:, :old] *= ~seen[:, :old]
        mask[:, room:] *= ~seen[:, old:]
        offers, fresh = self._decoder.run(BEAMS, self._cache, mask=mask, ends=ends, **inputs)
        if every > room:
            seen = self._make_room(seen, new)
        for layer, rows in zip(self._cache, fresh, strict=True):
            layer[0, :, seen.shape[1] - new : seen.shape[1]] = rows
        self._seen = seen[ends]
        stops = np.cumsum(list(beams.values()))
        self._first = dict(zip(beams, (0, *stops[:-1].tolist()), strict=True))
        return [
            Offers(*parts)
            for parts in zip(np.split(offers.tokens, stops[:-1]), np.split(offers.log_probs, stops[:-1]), strict=True)
        ]

    def _make_room(self, seen: NDArray[np.bool_], new: int) -> NDArray[np.bool_]:
        """Drop the old rows that no beam descends from any more, and add free ones for `new` and some steps more."""
        living = np.flatnonzero(seen[:, :-new].any(axis=0))
        for index, layer in enumerate(self._cache):  # one by one, so that there is one copy at a time
            _, heads, _, width = layer.shape
            grown = np.zeros((1, heads, len(living) + new + _ROOM, width), dtype=np.float32)
            grown[:, :, : len(living)] = layer[:, :, living]
            self._cache[index] = grown
        return np.concatenate([seen[:, living], seen[:, -new:]], axis=1)
