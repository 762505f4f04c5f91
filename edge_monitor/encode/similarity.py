"""How alike a sound and a text are: cosines of a bundle's audio and text embeddings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.encode.bundle import require_ability
from edge_monitor.encode.session import normalized, open_session, run, trim_memory
from edge_monitor.encode.vocabulary import END_OF_TEXT, Vocabulary
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.encode.manifest import Similarity
    from edge_monitor.records import Embedding

    Vectors = NDArray[np.float32]

MOST_TEXT_TOKENS = 77  # msclap's text_len
END_TOKENS = 2  # of what msclap adds to every text: a space, and the end
_MATRIX = 2


class TextSimilarity:
    """S_C(X, T_l) of the paper: how much a sound has of what each reference text says.

    `texts` are those asked for; without, the bundle's own and, after them, `also`. A text the bundle does not hold is
    embedded once by its text encoder, which is let go at once. Raises BundleError for a bundle without this ability
    (and names one with), and for a text that the bundle neither holds nor can embed.
    """

    def __init__(
        self,
        bundle: Bundle,
        texts: Sequence[str] | None = None,
        *,
        also: Sequence[str] = (),
        threads: int = 1,
        state_dir: Path | None = None,
    ) -> None:
        require_ability(bundle, "text-similarity", state_dir)
        part = bundle.manifest.similarity
        if part is None:  # the manifest has it with the ability
            raise BundleError("compares no texts", where=bundle.name)
        self.bundle = bundle
        self._normalize = part.normalize
        known = _read_texts(bundle, part)
        self.texts = tuple(dict.fromkeys((*known, *also) if texts is None else texts))
        new = [text for text in self.texts if text not in known]
        if new:
            known |= dict(zip(new, _embed(bundle, part, new, threads), strict=True))
        raw = np.stack([known[text] for text in self.texts])
        self._vectors = normalized(raw, self._normalize)  # (text, dim)

    def similarities(self, embedding: Embedding) -> tuple[float, ...]:
        """Return the similarity of a raw embedding to each of `texts`: the cosine, -1 to 1, higher = more alike.

        (A bundle with `normalize = "none"` gives plain products.) msclap's own multiply it by exp(logit_scale).
        Raises BundleMismatchError for another bundle's embedding.
        """
        self.bundle.require_own(embedding)
        vector = normalized(embedding.vector, self._normalize)
        return tuple(float(value) for value in self._vectors @ vector)


def _read_texts(bundle: Bundle, part: Similarity) -> dict[str, Vectors]:
    """Return the raw embedding (dim,) of each text in the bundle."""
    where = str(bundle.folder / part.texts)
    try:
        entries = json.loads(bundle.read_verified(bundle.file(part.texts)))["texts"]
        known = {str(entry["text"]): np.array(entry["embedding"], dtype=np.float32) for entry in entries}
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"not a list of texts and their embeddings: {error}", where=where) from error
    if not known or any(vector.shape != (bundle.manifest.audio.dim,) for vector in known.values()):
        raise BundleError(
            f"its embeddings are not vectors of {bundle.manifest.audio.dim}", where=where, hint="so says audio.dim"
        )
    return known


def _embed(bundle: Bundle, part: Similarity, texts: Sequence[str], threads: int) -> Vectors:
    """Return the raw embeddings of further texts, (text, dim)."""
    if part.text_encoder is None or part.vocabulary is None:
        known = f"no embedding of {texts[0]!r}, and no text encoder to make one"
        raise BundleError(known, where=bundle.name, hint="texts are embedded when the bundle is built")
    vocabulary = Vocabulary.of(bundle, part.vocabulary)
    bundle.verify_file(bundle.file(part.text_encoder))  # too large to be read at once beside the session
    session = open_session(bundle, part.text_encoder, threads)
    vectors = np.concatenate([_embed_one(session, vocabulary, text, bundle) for text in texts])
    del session  # half a gigabyte in full size
    trim_memory()
    return vectors


def require_text(text: str, tokens: int, where: str) -> None:
    """Check a text, with its end of so many tokens. Raises BundleError for an empty one, and one that is too long."""
    if not text.strip():
        raise BundleError("an empty text", where=where, hint="a reference text has at least a word")
    if tokens > MOST_TEXT_TOKENS:
        raise BundleError(
            f"a text of {tokens - END_TOKENS} tokens: {text[:40]!r}",
            where=where,
            hint=f"a reference text has at most {MOST_TEXT_TOKENS - END_TOKENS}",
        )


def _embed_one(session: object, vocabulary: Vocabulary, text: str, bundle: Bundle) -> Vectors:
    tokens = vocabulary.encode(f"{text} {END_OF_TEXT}")
    require_text(text, len(tokens), where=bundle.name)
    (vector,) = run(session, ["embedding"], {"tokens": np.array([tokens], dtype=np.int64)}, where=bundle.name)
    if vector.ndim != _MATRIX or vector.shape != (1, bundle.manifest.audio.dim) or not np.isfinite(vector).all():
        raise BundleError(
            f"the text encoder gives {vector.shape}, not (1, {bundle.manifest.audio.dim})", where=bundle.name
        )
    return np.asarray(vector, dtype=np.float32)
