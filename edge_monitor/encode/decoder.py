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

    def cache(self, rows: int) -> NDArray[np.float32]:
        """Return a cache with room for that many rows, (2 x layer, 1, head, row, head width)."""
        heads, head_width = self._heads
        return np.zeros((len(self._caches), 1, heads, rows, head_width), dtype=np.float32)

    def no_prefix(self) -> NDArray[np.float32]:
        """Return a prefix without rows, (0, width)."""
        return np.zeros((0, self._width), dtype=np.float32)

    def run(
        self, choices: int, cache: NDArray[np.float32], **inputs: NDArray[Any]
    ) -> tuple[Offers, NDArray[np.float32]]:
        """Return what may follow the ends, and the new rows' part of the cache. Inputs as in docs/bundles.md."""
        feed = {**inputs, **dict(zip(self._caches, cache, strict=True)), "k": np.array([choices], dtype=np.int64)}
        log_probs, tokens, fresh = run(self._session, _OUTPUTS, feed, where=self.where)
        return Offers(tokens, log_probs), fresh


class CaptionDecoding:
    """One caption in the making; see `beam.Decoding`.

    `prefix` is (position, width) float32; `forced` are tokens the caption begins with. What is read is a tree of rows:
    the prefix and the forced tokens are its trunk, and each step adds a row to each beam.
    """

    def __init__(self, decoder: Decoder, prefix: NDArray[np.float32], forced: Sequence[int] = ()) -> None:
        self._decoder = decoder
        self._prefix = prefix
        self._forced = np.array(forced, dtype=np.int64)
        self._cache = decoder.cache(0)  # its last rows may be free
        self._seen = np.ones((1, 0), dtype=bool)  # (beam, row read): whether the beam descends from it
        self._position = 0  # of the next token

    def start(self) -> Offers:
        """Read the prefix and the forced tokens."""
        rows = len(self._prefix) + len(self._forced)
        offers = self._read(
            np.tri(rows, dtype=bool),
            prefix=self._prefix,
            tokens=self._forced,
            positions=np.arange(rows),
            ends=np.array([rows - 1]),
        )
        self._seen, self._position = np.ones((1, rows), dtype=bool), rows
        return offers

    def step(self, tokens: NDArray[np.int64], sources: NDArray[np.int64]) -> Offers:
        """Continue the beams by a token each."""
        beams = len(tokens)
        seen = np.concatenate([self._seen[sources], np.eye(beams, dtype=bool)], axis=1)
        offers = self._read(
            seen,
            prefix=self._decoder.no_prefix(),
            tokens=tokens,
            positions=np.full(beams, self._position),
            ends=np.arange(beams),
        )
        self._seen, self._position = seen, self._position + 1
        return offers

    def _read(self, seen: NDArray[np.bool_], **inputs: NDArray[Any]) -> Offers:
        """Read new rows, which see rows (new, old + new), and add them to the cache."""
        new, every = seen.shape
        old, room = every - new, self._cache.shape[3]
        mask = np.full((new, room + new), _HIDDEN)
        mask[:, :old] *= ~seen[:, :old]
        mask[:, room:] *= ~seen[:, old:]
        offers, fresh = self._decoder.run(BEAMS, self._cache, mask=mask, **inputs)
        if every > room:
            grown = self._decoder.cache(every + _ROOM)
            grown[..., :old, :] = self._cache[..., :old, :]
            self._cache = grown
        self._cache[:, 0, :, old:every] = fresh
        return offers
