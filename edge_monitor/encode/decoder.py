"""The caption decoder of a bundle: a GPT-2 graph with a cache, which the beam search asks for the next tokens."""

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

_INPUTS = ("prefix", "tokens", "shared", "past", "sources", "k")
_OUTPUTS = ["log_probs", "token_ids", "present"]
_CACHE_RANK = 5  # (layer x key or value, beam, head, position, width of a head)


class Decoder:
    """One graph for reading a prefix and for each step; docs/bundles.md describes it. Holds most of the memory.

    Raises BundleError when it cannot be loaded, BundleMismatchError when it has other inputs than such a graph.
    """

    def __init__(self, bundle: Bundle, model: str, threads: int) -> None:
        self.where = str(bundle.folder / model)
        self._session = open_session(bundle, model, threads, keep_buffers=True)
        shapes = {port.name: port.shape for port in self._session.get_inputs()}
        outputs = {port.name for port in self._session.get_outputs()}
        if set(shapes) != set(_INPUTS) or outputs != set(_OUTPUTS) or len(shapes["past"]) != _CACHE_RANK:
            raise BundleMismatchError("is not a caption decoder", where=self.where, hint="see docs/bundles.md")
        self._width = int(shapes["prefix"][2])
        layers, _, heads, _, head_width = shapes["past"]
        self._cache = (int(layers), int(heads), int(head_width))

    def empty_cache(self, beams: int) -> NDArray[np.float32]:
        """Return a cache without positions, (2 x layer, beam, head, 0, head width)."""
        layers, heads, head_width = self._cache
        return np.zeros((layers, beams, heads, 0, head_width), dtype=np.float32)

    def no_prefix(self, beams: int) -> NDArray[np.float32]:
        """Return a prefix without positions, (beam, 0, width)."""
        return np.zeros((beams, 0, self._width), dtype=np.float32)

    def run(self, choices: int, **inputs: NDArray[Any]) -> tuple[Offers, NDArray[np.float32]]:
        """Return what may follow the last position, and the cache. Inputs as in docs/bundles.md."""
        feed = {**inputs, "k": np.array([choices], dtype=np.int64)}
        log_probs, tokens, present = run(self._session, _OUTPUTS, feed, where=self.where)
        return Offers(tokens, log_probs), present


class CaptionDecoding:
    """One caption in the making; see `beam.Decoding`.

    `prefix` is (position, width) float32; `forced` are tokens the caption begins with.
    """

    def __init__(self, decoder: Decoder, prefix: NDArray[np.float32], forced: Sequence[int] = ()) -> None:
        self._decoder = decoder
        self._prefix = prefix
        self._forced = np.array(forced, dtype=np.int64)
        self._shared = decoder.empty_cache(1)  # of the prefix and the forced tokens: the same for all beams
        self._past: NDArray[np.float32] | None = None  # of what each beam has written since

    def start(self) -> Offers:
        """Read the prefix and the forced tokens."""
        empty = self._decoder.empty_cache(1)
        offers, self._shared = self._decoder.run(
            BEAMS,
            prefix=self._prefix[None],
            tokens=self._forced[None],
            shared=empty,
            past=empty,
            sources=np.zeros(1, dtype=np.int64),
        )
        return offers

    def step(self, tokens: NDArray[np.int64], sources: NDArray[np.int64]) -> Offers:
        """Continue the beams by a token each; the graph reorders their caches."""
        beams = len(tokens)
        past = self._decoder.empty_cache(beams) if self._past is None else self._past
        offers, self._past = self._decoder.run(
            BEAMS,
            prefix=self._decoder.no_prefix(beams),
            tokens=tokens[:, None],
            shared=self._shared,
            past=past,
            sources=sources,
        )
        return offers
