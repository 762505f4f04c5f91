"""A bundle's own words for a vector, decoded as msclap decodes them."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.encode.beam import Continuation, search
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.captioner import Captioner
from edge_monitor.encode.decoder import CaptionDecoding, Decoder
from edge_monitor.encode.encoder import Encoder
from edge_monitor.encode.vocabulary import Vocabulary
from edge_monitor.errors import BundleError, BundleMismatchError, BundleMissingError
from edge_monitor.records import Embedding
from tests.broker import wait_until
from tests.encode import talking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.encode.foreign import ForeignBundle


@pytest.fixture
def captioner(tmp_path: Path) -> Captioner:
    """Return the captioner of a bundle whose model seldom stops early."""
    return Captioner(open_bundle(talking.write(tmp_path / "talking")))


def heard(captioner: Captioner, seed: int = 1) -> Embedding:
    """Return the embedding of a seeded sound."""
    sound = np.random.default_rng(seed).uniform(-1.0, 1.0, (1, 6000)).astype(np.float32)
    sound *= np.repeat(np.random.default_rng(seed).uniform(0, 1, 6), 1000).astype(np.float32)
    encoder = Encoder(captioner.bundle)
    return Embedding(encoder.embed(sound)[0], encoder.bundle_hash)


def test_it_equals_msclap_token_for_token(tmp_path: Path) -> None:
    """On eight small GPT-2s of random weights, over 1,000 times, the cached graph writes what msclap's code wrote."""
    recorded = talking.RECORDED.read_text("ascii").splitlines()
    assert len(recorded) == talking.CASES == 1040
    decoders = []
    for model in range(len(talking.EAGERNESS)):
        bundle = open_bundle(talking.write(tmp_path / f"{model}", model=model))
        decoders.append(Decoder.open(bundle, "decoder.onnx", threads=1))
    compared = stopped = 0
    for case, expected in enumerate(recorded):
        if expected == "-":  # decided by less than float32 says
            continue
        decoding = CaptionDecoding(decoders[case % len(decoders)], talking.prefix(case)[None])
        (found,) = search(decoding, most_tokens=talking.MOST_TOKENS)
        assert " ".join(map(str, found.tokens)) == expected, f"case {case}"
        compared += 1
        stopped += found.tokens[-1] == talking.STOP
    assert compared > 1000
    assert 100 < stopped < 900


def test_decoded_together_it_equals_msclap_too(tmp_path: Path) -> None:
    """Eight captions at a time, which stop at different times or never, are what msclap's code wrote for each alone."""
    recorded = talking.RECORDED.read_text("ascii").splitlines()
    lengths = set()
    for model in range(len(talking.EAGERNESS)):
        bundle = open_bundle(talking.write(tmp_path / f"{model}", model=model))
        decoder = Decoder.open(bundle, "decoder.onnx", threads=1)
        cases = range(model, talking.CASES, len(talking.EAGERNESS))  # this model's, 130
        for first in range(0, len(cases), 8):
            together = cases[first : first + 8]
            decoding = CaptionDecoding(decoder, np.stack([talking.prefix(case) for case in together]))
            for case, found in zip(together, search(decoding, most_tokens=talking.MOST_TOKENS), strict=True):
                if recorded[case] != "-":
                    assert " ".join(map(str, found.tokens)) == recorded[case], f"case {case}"
                    lengths.add(len(found.tokens))
    assert lengths == {1, 2, 3, 5, 9, 16}


def test_captions_together_are_those_one_by_one(captioner: Captioner) -> None:
    """More than are decoded at a time: in order, forced beginning or not; and none for none."""
    embeddings = [heard(captioner, seed) for seed in range(11)]
    for begin in ("Sounds like", ""):
        together = captioner.captions(embeddings, begin=begin)
        alone = [captioner.caption(embedding, begin=begin) for embedding in embeddings]
        assert [each.tokens for each in together] == [each.tokens for each in alone]
        assert [each.text for each in together] == [each.text for each in alone]
        np.testing.assert_allclose([each.log_prob for each in together], [each.log_prob for each in alone], atol=1e-5)
        assert len({each.tokens for each in together}) > 5
    assert captioner.captions([]) == []


def test_a_caption_begins_as_the_paper_has_it(captioner: Captioner) -> None:
    """`Sounds like` is forced and counts among the tokens; without it the decoder begins as it likes."""
    constrained = captioner.caption(heard(captioner))
    free = captioner.caption(heard(captioner), begin="", most_tokens=5)
    assert constrained.text.startswith("Sounds like")
    assert constrained.tokens[:2] == (260, 264)
    assert len(constrained.tokens) <= 67
    assert not free.text.startswith("Sounds like")
    assert len(free.tokens) <= 5
    assert free.log_prob < 0.0


def test_forced_tokens_are_what_the_decoder_reads(captioner: Captioner) -> None:
    """Forcing the first tokens a free caption chose leads to the same caption."""
    free = captioner.caption(heard(captioner), begin="", most_tokens=8)
    part = captioner.bundle.manifest.captions
    assert part is not None
    captioner.caption(heard(captioner))
    loaded = captioner._loaded
    assert loaded is not None
    decoding = CaptionDecoding(
        loaded.decoder, loaded.mapper.run(None, {"embedding": unit(heard(captioner))})[0], free.tokens[:3]
    )
    (first,) = decoding.start()
    assert first.log_probs.shape == (1, 5)
    assert free.tokens[3] in first.tokens[0]


def test_beams_are_as_if_read_anew(tmp_path: Path) -> None:
    """After 40 steps in which beams branch, die out and change places, each goes on as its own text alone would.

    Three captions are decoded together; one ends after 10 steps, and they change places, too.
    """
    decoder = Decoder.open(open_bundle(talking.write(tmp_path / "talking")), "decoder.onnx", threads=1)
    generator = np.random.default_rng(5)
    prefixes = np.stack([talking.prefix(case) for case in (3, 4, 5)])
    decoding = CaptionDecoding(decoder, prefixes)
    offers = dict(enumerate(decoding.start()))
    texts: dict[int, list[tuple[int, ...]]] = {caption: [()] for caption in range(3)}
    for step in range(40):
        steps = []
        for caption in generator.permutation([0, 2] if step > 10 else [0, 1, 2]).tolist():
            former = texts[caption]
            sources = generator.integers(0, len(former), 5)
            tokens = offers[caption].tokens[sources, generator.integers(0, 5, 5)]
            texts[caption] = [(*former[source], int(token)) for source, token in zip(sources, tokens, strict=True)]
            steps.append(Continuation(caption, tokens, sources))
        offers = {each.caption: found for each, found in zip(steps, decoding.step(steps), strict=True)}
    assert sorted(offers) == [0, 2]
    for caption, found in offers.items():
        prefix = prefixes[caption][None]
        anew = [CaptionDecoding(decoder, prefix, text).start()[0].log_probs[0] for text in texts[caption]]
        np.testing.assert_allclose(found.log_probs, anew, atol=1e-5)
        assert len(set(texts[caption])) > 1


def test_rows_that_nobody_descends_from_are_let_go(tmp_path: Path) -> None:
    """When all beams always continue one, the cache holds little more than that one text."""
    decoder = Decoder.open(open_bundle(talking.write(tmp_path / "talking")), "decoder.onnx", threads=1)
    decoding = CaptionDecoding(decoder, talking.prefix(3)[None])
    (offers,) = decoding.start()
    for _ in range(80):
        tokens = offers.tokens[0]
        (offers,) = decoding.step([Continuation(0, tokens, np.zeros(5, dtype=np.int64))])
    assert decoding._cache[0].shape[2] < 4 + 80 + 5 + 65  # prefix, text, beams, free rows; 404 were read


def unit(embedding: Embedding) -> np.ndarray:
    """Return the vector at length 1, (1, dim)."""
    return (embedding.vector / np.linalg.norm(embedding.vector))[None]


def test_only_the_direction_of_a_vector_counts(captioner: Captioner) -> None:
    """The manifest normalizes for captions; the vector itself is stored raw."""
    one = heard(captioner)
    double = Embedding(2 * one.vector, one.bundle_hash)
    assert captioner.caption(double).tokens == captioner.caption(one).tokens
    assert captioner.caption(heard(captioner, 2)).tokens != captioner.caption(one).tokens


def test_memory_is_let_go_when_idle(tmp_path: Path) -> None:
    """The models are loaded with the first caption and released some time after the last."""
    captioner = Captioner(open_bundle(talking.write(tmp_path / "talking")), idle_s=0.3)
    assert not captioner.loaded
    first = captioner.caption(heard(captioner))
    assert captioner.loaded
    wait_until(lambda: not captioner.loaded, 5.0, "the release")
    assert captioner.caption(heard(captioner)) == first
    captioner.release()
    assert not captioner.loaded
    time.sleep(0.4)  # the last timer was cancelled, nothing happens any more
    assert not captioner.loaded


def test_two_threads_get_the_same_captions(captioner: Captioner) -> None:
    """One caption at a time: whoever asks meanwhile waits."""
    alone = captioner.caption(heard(captioner)).tokens
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(captioner.caption(heard(captioner)).tokens)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [alone] * 3


def test_a_bundle_without_captions_names_one_with(foreign: ForeignBundle, tmp_path: Path) -> None:
    """One line: which bundle cannot, which one can, and how to get that."""
    folder = foreign.write()
    with pytest.raises(BundleError, match="foreign: the bundle does not write captions") as none:
        Captioner(open_bundle(folder))
    assert "\n" not in str(none.value)
    talking.write(tmp_path / "models" / "talking")
    with pytest.raises(BundleError, match=r"does not write captions \(talking does\)"):
        Captioner(open_bundle(folder), state_dir=tmp_path)


def test_another_bundles_vector_is_refused(captioner: Captioner) -> None:
    """Captions come from the vector that was scored, and from the model that made it."""
    other = Embedding(np.ones(6, dtype=np.float32), "f" * 64)
    with pytest.raises(BundleMismatchError, match="talking: an embedding of another bundle: ffffffffffff, not "):
        captioner.caption(other)


def test_damaged_files_are_refused_before_they_are_loaded(captioner: Captioner) -> None:
    """A changed, missing or foreign decoder is one line each, and the next try starts afresh."""
    path = captioner.bundle.folder / "decoder.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")
    with pytest.raises(BundleMismatchError, match=r"decoder\.onnx has SHA-256"):
        captioner.caption(heard(captioner))
    path.unlink()
    with pytest.raises(
        BundleMissingError, match=r"decoder\.onnx is missing \(copy .+ or get it with `fetch-talking`\)"
    ):
        captioner.caption(heard(captioner))
    path.write_bytes(content)
    assert captioner.caption(heard(captioner)).tokens


def test_a_stop_token_that_the_vocabulary_has_not_is_named(tmp_path: Path) -> None:
    """No caption would ever end."""
    folder = talking.write(tmp_path / "endless")
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text("utf-8").replace("stop_id = 220", "stop_id = 999999"), "utf-8")
    endless = Captioner(open_bundle(folder))
    with pytest.raises(BundleError, match=r"captions\.stop_id is 999999, the vocabulary has \d+ tokens"):
        endless.caption(heard(endless))


def test_what_is_no_decoder_is_named(tmp_path: Path) -> None:
    """A graph with other inputs, or a vocabulary that is none, is told with its file."""
    other = (talking.write(tmp_path / "whole") / "audio.onnx").read_bytes()
    wrong = Captioner(open_bundle(talking.write(tmp_path / "wrong", decoder=other)))
    with pytest.raises(BundleMismatchError, match=r"decoder\.onnx: is not a caption decoder"):
        wrong.caption(heard(wrong))
    wordless = Captioner(open_bundle(talking.write(tmp_path / "wordless", vocabulary=b"[1, 2]")))
    with pytest.raises(BundleError, match=r"vocabulary\.json: not a vocabulary"):
        wordless.caption(heard(wordless))


@given(st.text(max_size=40))
def test_no_character_of_a_text_is_lost(text: str) -> None:
    """Whatever is cut into pieces and encoded is decoded to the same."""
    vocabulary = Vocabulary(talking.TOKENS, [(a, b) for a, b in (merge.split(" ") for merge in talking.MERGES)])
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_the_vocabulary_reads_and_writes() -> None:
    """Bytes, merges, accents and the special token survive; text is cut as GPT-2 cuts it."""
    vocabulary = Vocabulary(talking.TOKENS, [(a, b) for a, b in (merge.split(" ") for merge in talking.MERGES)])
    assert vocabulary.encode("Sounds like") == (260, 264)
    assert vocabulary.encode(" <|endoftext|>") == (220, 265)
    assert vocabulary.encode("é") == (127, 102)
    text = "Sounds like Söhne's 12 ² \n\n  hums, it's (42)!  "
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.decode((127,)) == "�"
    with pytest.raises(BundleError, match="a token is not among the 266 of the vocabulary"):
        vocabulary.decode((266,))
    with pytest.raises(BundleError, match="is not in GPT-2's alphabet"):
        Vocabulary.parse(json.dumps({"tokens": ["a b"]}).encode(), where="v.json")
