"""Words for a vector: the captions of a bundle, decoded from the very embedding that was scored."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.encode.beam import MOST_TOKENS, search
from edge_monitor.encode.bundle import require_ability
from edge_monitor.encode.decoder import CaptionDecoding, Decoder
from edge_monitor.encode.session import normalized, open_session, run, trim_memory
from edge_monitor.encode.vocabulary import Vocabulary
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.records import Embedding

# How the paper has every caption begin.
SOUNDS_LIKE = "Sounds like"
IDLE_S = 60.0
# Captions that are decoded together: an alarm's window and its four nearest normal ones. With MS-CLAP in int8, five of
# 67 tokens took the process to 471 MB, eight to 569; one alone takes 371.
TOGETHER = 5


@dataclass(frozen=True, slots=True)
class DecodedCaption:
    """A caption, and how sure the decoder was."""

    text: str  # begins with a capital; the rest is in lower case, as msclap gives it
    tokens: tuple[int, ...]  # of the vocabulary, the forced ones first, the stop token last if it came
    log_prob: float  # mean over the tokens that were not forced, <= 0, higher = likelier


@dataclass(frozen=True, slots=True)
class _Loaded:
    mapper: Any  # an ONNX Runtime session
    decoder: Decoder
    vocabulary: Vocabulary


class Captioner:
    """Writes captions. Its models are loaded when one is due and let go after `idle_s` seconds without.

    Thread-safe: one call at a time. Raises BundleError for a bundle without captions, and names one with.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int = 1, idle_s: float = IDLE_S, state_dir: Path | None = None
    ) -> None:
        require_ability(bundle, "captions", state_dir)
        part = bundle.manifest.captions
        if part is None:  # the manifest has it with the ability
            raise BundleError("has no captions", where=bundle.name)
        self.bundle = bundle
        self._part = part
        self._threads = threads
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._timer: threading.Timer | None = None

    @property
    def loaded(self) -> bool:
        """Return whether the models are in memory."""
        return self._loaded is not None

    def caption(
        self, embedding: Embedding, *, begin: str = SOUNDS_LIKE, most_tokens: int = MOST_TOKENS
    ) -> DecodedCaption:
        """Return the caption of a raw embedding; see `captions`."""
        (caption,) = self.captions([embedding], begin=begin, most_tokens=most_tokens)
        return caption

    def captions(
        self, embeddings: Sequence[Embedding], *, begin: str = SOUNDS_LIKE, most_tokens: int = MOST_TOKENS
    ) -> list[DecodedCaption]:
        """Return the captions of raw embeddings, each of at most `most_tokens` tokens, `begin` among them.

        They are decoded together, TOGETHER at a time: several take much less than several times as long.
        `begin` is how each must begin; empty: as the decoder likes. Raises BundleMismatchError for another bundle's
        embedding, BundleMissingError or BundleError when the models cannot be used.
        """
        for embedding in embeddings:
            self.bundle.require_own(embedding, hint="captions come from the vector that was scored")
        vectors = [embedding.vector for embedding in embeddings]
        groups = [np.stack(vectors[first : first + TOGETHER]) for first in range(0, len(vectors), TOGETHER)]
        with self._lock:
            self._stop_timer()
            try:
                self._loaded = loaded = self._loaded or self._load()
                return [caption for group in groups for caption in self._decode(loaded, group, begin, most_tokens)]
            finally:
                self._start_timer()

    def release(self) -> None:
        """Let the models go now; the next caption loads them again."""
        with self._lock:
            self._stop_timer()
            if self._loaded is None:
                return
            self._loaded = None
            trim_memory()

    def _load(self) -> _Loaded:
        part = self._part
        vocabulary = Vocabulary.of(self.bundle, part.vocabulary)
        if part.stop_id >= len(vocabulary):
            raise BundleError(
                f"captions.stop_id is {part.stop_id}, the vocabulary has {len(vocabulary)} tokens",
                where=self.bundle.name,
                hint="correct the manifest; see docs/bundles.md",
            )
        self.bundle.verify("captions")  # the graphs are opened by path, so that they lie in memory once
        loaded = _Loaded(
            mapper=open_session(self.bundle, part.mapper, self._threads),
            decoder=Decoder.open(self.bundle, part.decoder, self._threads),
            vocabulary=vocabulary,
        )
        trim_memory()  # reading the graphs leaves 60 MB behind
        return loaded

    def _decode(
        self, loaded: _Loaded, vectors: NDArray[np.float32], begin: str, most_tokens: int
    ) -> Iterator[DecodedCaption]:
        """Yield the captions of raw vectors (caption, dim)."""
        forced = loaded.vocabulary.encode(begin)
        if len(forced) >= most_tokens:
            raise BundleError(f"{begin!r} alone has {len(forced)} tokens, a caption at most {most_tokens}")
        inputs = {"embedding": normalized(vectors, self._part.normalize).astype(np.float32)}
        (prefixes,) = run(loaded.mapper, ["prefix"], inputs, where=self.bundle.name)
        decoding = CaptionDecoding(loaded.decoder, prefixes, forced)
        for best in search(decoding, most_tokens=most_tokens - len(forced), stop_token=self._part.stop_id):
            tokens = (*forced, *best.tokens)
            yield DecodedCaption(loaded.vocabulary.decode(tokens).strip().capitalize(), tokens, best.score)

    def _start_timer(self) -> None:
        self._timer = threading.Timer(self._idle_s, self._release_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release_if_idle(self) -> None:
        """Let go, unless a caption was asked for just as the timer rang."""
        with self._lock:
            if self._timer is threading.current_thread():
                self._timer = None
                self._loaded = None
                trim_memory()
