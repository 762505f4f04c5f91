"""Every built graph beside msclap: the same inputs, and how far the outputs are apart. One that differs is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.encode.beam import Continuation
from edge_monitor.encode.decoder import CaptionDecoding, Decoder
from edge_monitor.encode.manifest import Check
from edge_monitor.errors import BundleMismatchError
from edge_monitor.export.front_end import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_monitor.export.reference import Reference

    Array = NDArray[np.float32]
    Heard = dict[str, Array]  # sound -> msclap's embeddings (batch, 1024), raw

MOST = 1e-4  # largest difference, in the output's own unit; embeddings are layer-normalized, of order 1
# Log-probabilities of a real GPT-2 come from logits near -100, where float32 itself steps by 8e-6, over 12 layers.
MOST_LOG_PROB = 1e-3
_RATE_HZ = 44_100
_SOURCES = ((0, 0, 0, 0, 0), (4, 3, 2, 1, 0), (1, 1, 1, 3, 0))  # after the prefill: which beam each one continues


def sounds() -> Iterator[tuple[str, Array]]:
    """Yield names and waveforms (batch, 308700) of batches 1, 2 and 3: silence, noise, tones in faint noise.

    Without the noise, -60 dBFS, most bands of a tone would hold nothing but the rounding of float32, msclap's and ours.
    """
    generator = np.random.default_rng(2023)
    time_s = np.arange(SAMPLES) / _RATE_HZ
    tones = np.stack([0.5 * np.sin(2.0 * np.pi * hz * time_s) for hz in (97.0, 997.0, 5003.0)])
    yield "silence", np.zeros((1, SAMPLES), dtype=np.float32)
    yield "noise", generator.normal(0.0, [[0.1], [0.003]], (2, SAMPLES)).astype(np.float32)
    yield "tones", (tones + generator.normal(0.0, 1e-3, tones.shape)).astype(np.float32)


def unit(vectors: Array) -> Array:
    """Return vectors (batch, dim) scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def compared(part: str, what: str, ours: Array, theirs: Array, most: float = MOST) -> Check:
    """Return how far two outputs (batch, …) are apart. Raises BundleMismatchError beyond `most`."""
    flat = [np.asarray(array, dtype=np.float64).reshape(len(array), -1) for array in (ours, theirs)]
    max_abs = float(np.abs(flat[0] - flat[1]).max())
    lengths = np.linalg.norm(flat[0], axis=1) * np.linalg.norm(flat[1], axis=1)
    cosine = float(np.clip((flat[0] * flat[1]).sum(axis=1) / lengths, -1.0, 1.0).min())
    if not max_abs <= most:  # NaN differs too
        raise BundleMismatchError(
            f"the built graph differs from msclap by {max_abs:.2g} on {what}, at most {most:g} is allowed",
            where=part,
            hint="nothing was installed; please report it with the versions of torch and onnx",
        )
    return Check(part=part, sounds=what, max_abs=float(f"{max_abs:.2g}"), cosine=round(cosine, 7))


def check_audio(session: Any, reference: Reference) -> tuple[Heard, list[Check]]:  # noqa: ANN401 - an ONNX session
    """Compare the audio encoder on every sound; return msclap's embeddings for the parts that come after it."""
    checks, heard = [], {}
    for name, waveforms in sounds():
        heard[name] = reference.embed(waveforms)
        (ours,) = session.run(None, {"waveform": waveforms})
        checks.append(compared("audio.onnx", f"{name}, batch {len(waveforms)}", ours, heard[name]))
    return heard, checks


def check_mapper(session: Any, reference: Reference, heard: Heard) -> list[Check]:  # noqa: ANN401 - as above
    """Compare the caption mapper on the sounds' embeddings."""
    checks = []
    for name, vectors in heard.items():
        (ours,) = session.run(None, {"embedding": unit(vectors)})
        theirs = reference.prefix(unit(vectors))
        checks.append(compared("mapper.onnx", f"{name}, batch {len(vectors)}", ours, theirs))
    return checks


def check_decoder(session: Any, reference: Reference, heard: Heard) -> list[Check]:  # noqa: ANN401 - as above
    """Compare the decoder's best log-probabilities: in the prefill, then as beams go on, change places and branch."""
    decoder = Decoder(session, "decoder.onnx")
    prefixes = {name: reference.prefix(unit(vectors)) for name, vectors in heard.items()}
    return [_check_decoding(decoder, reference, *each) for each in prefixes.items()]


def _check_decoding(decoder: Decoder, reference: Reference, name: str, prefixes: Array) -> Check:
    decoding = CaptionDecoding(decoder, prefixes)
    offers = decoding.start()
    texts = [np.zeros((1, 0), dtype=np.int64) for _ in prefixes]  # of each caption: (beam, token)
    ours, theirs = [], []
    for sources in (*_SOURCES, None):
        for prefix, text, offer in zip(prefixes, texts, offers, strict=True):
            ours.append(offer.log_probs)
            log_probs = reference.next_log_probs(np.repeat(prefix[None], len(text), axis=0), text)
            theirs.append(np.take_along_axis(log_probs, offer.tokens, axis=1))
        if sources is None:
            break
        steps = [
            Continuation(caption, offer.tokens[sources, np.arange(len(sources))], np.array(sources))
            for caption, offer in enumerate(offers)  # another of its offers for each beam
        ]
        offers = decoding.step(steps)
        texts = [
            np.concatenate([text[list(sources)], step.tokens[:, None]], axis=1)
            for text, step in zip(texts, steps, strict=True)
        ]
    what = f"{name}, {len(prefixes)} together, {1 + len(_SOURCES)} tokens of up to {max(map(len, _SOURCES))} beams"
    return compared("decoder.onnx", what, np.concatenate(ours), np.concatenate(theirs), MOST_LOG_PROB)


def check_texts(ours: Array, theirs: Array, heard: Heard) -> list[Check]:
    """Compare the texts' embeddings (text, 1024), and their cosines with the sounds."""
    vectors = unit(np.concatenate([*heard.values()]))
    return [
        compared("text.onnx", f"{len(ours)} texts", ours, theirs),
        compared("texts.json", "cosines of every sound and text", vectors @ unit(ours).T, vectors @ unit(theirs).T),
    ]
