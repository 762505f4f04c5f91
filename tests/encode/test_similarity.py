"""How alike sound and texts are, by plain cosines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.similarity import TextSimilarity
from edge_monitor.errors import BundleError, BundleMismatchError, BundleMissingError
from edge_monitor.records import Embedding
from tests.encode import talking

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.encode.bundle import Bundle
    from tests.encode.foreign import ForeignBundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle that holds two texts, (1, 0, 0, …) and (0, 3, 4, 0, …), and can embed others."""
    return open_bundle(talking.write(tmp_path / "talking"))


def of(bundle: Bundle, *vector: float) -> Embedding:
    """Return an embedding of that bundle."""
    return Embedding(np.array(vector, dtype=np.float32), bundle.bundle_hash)


def test_similarity_is_the_cosine(bundle: Bundle) -> None:
    """Lengths of sound and text vectors do not count, nothing is scaled, opposite is -1."""
    similarity = TextSimilarity(bundle)
    assert similarity.texts == ("Vibration", "Grinding")
    assert similarity.similarities(of(bundle, 0, 6, 8, 0, 0, 0)) == pytest.approx((0.0, 1.0))
    assert similarity.similarities(of(bundle, -2, 0, 0, 0, 0, 0)) == pytest.approx((-1.0, 0.0))
    assert similarity.similarities(of(bundle, 0, 0, 0, 0, 0, 0)) == (0.0, 0.0)


def test_own_texts_come_from_the_encoder_or_from_the_bundle(bundle: Bundle) -> None:
    """A text of one's own is embedded once, one the bundle holds is not; the order is the asker's."""
    similarity = TextSimilarity(bundle, ["Sounds like a dry bearing", "Grinding", "Sounds like a dry bearing"])
    assert similarity.texts == ("Sounds like a dry bearing", "Grinding")
    own, grinding = similarity.similarities(of(bundle, 0, 3, 4, 0, 0, 0))
    assert grinding == pytest.approx(1.0)
    assert -1.0 <= own <= 1.0
    other = TextSimilarity(bundle, ["Sounds like a wet bearing"]).similarities(of(bundle, 0, 3, 4, 0, 0, 0))
    assert other != (own,)


def test_a_text_is_encoded_with_its_end(bundle: Bundle) -> None:
    """The encoder reads the text, a space and the end-of-text token, as msclap feeds it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bundle.folder / "text.onnx"))
    tokens = np.array([[260, 264, 220, 265]], dtype=np.int64)  # Sounds, like, the space, the end
    expected = session.run(None, {"tokens": tokens})[0][0]
    similarity = TextSimilarity(bundle, ["Sounds like"])
    assert similarity.similarities(of(bundle, *expected)) == pytest.approx((1.0,))


def test_without_a_text_encoder_only_the_bundles_texts_serve(tmp_path: Path) -> None:
    """A new text is refused in one line that says what to do."""
    bundle = open_bundle(talking.write(tmp_path / "talking", text=None))
    assert TextSimilarity(bundle, ["Grinding"]).texts == ("Grinding",)
    with pytest.raises(BundleError, match="no embedding of 'Hissing', and no text encoder to make one") as refused:
        TextSimilarity(bundle, ["Hissing"])
    assert refused.value.hint == "texts are embedded when the bundle is built"


def test_texts_that_cannot_be_embedded_are_refused(bundle: Bundle) -> None:
    """An empty text, and one longer than msclap reads."""
    with pytest.raises(BundleError, match="an empty text"):
        TextSimilarity(bundle, [""])
    with pytest.raises(BundleError, match="a text of 80 tokens"):
        TextSimilarity(bundle, ["z" * 80])


def test_a_bundle_without_texts_names_one_with(foreign: ForeignBundle, tmp_path: Path) -> None:
    """Which bundle cannot, which one can once it is there, and the command that gets it."""
    bundle = open_bundle(foreign.write())
    folder = talking.write(tmp_path / "models" / "talking")
    with pytest.raises(BundleError, match=r"foreign: .* does not compare sound with texts \(talking does\)"):
        TextSimilarity(bundle, state_dir=tmp_path)
    (folder / "texts.json").unlink()
    with pytest.raises(BundleError, match=r"\(talking does, once it is there: `fetch-talking`\)"):
        TextSimilarity(bundle, state_dir=tmp_path)


def test_wrong_vectors_and_files_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Another bundle's vector, texts of another dimension, a damaged and a missing encoder."""
    with pytest.raises(BundleMismatchError, match="an embedding of another bundle: ffffffffffff"):
        TextSimilarity(bundle).similarities(Embedding(np.ones(6, dtype=np.float32), "f" * 64))
    flat = json.dumps({"texts": [{"text": "Hum", "embedding": [1.0]}]}).encode()
    with pytest.raises(BundleError, match=r"texts\.json: its embeddings are not vectors of 6"):
        TextSimilarity(open_bundle(talking.write(tmp_path / "flat", texts=flat)))
    with pytest.raises(BundleError, match=r"texts\.json: not a list of texts"):
        TextSimilarity(open_bundle(talking.write(tmp_path / "odd", texts=b"{}")))
    (bundle.folder / "text.onnx").unlink()
    with pytest.raises(BundleMissingError, match=r"text\.onnx is missing"):
        TextSimilarity(bundle, ["Hissing"])
