"""The built MS-CLAP bundle is msclap, number for number; in full size, with random weights."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from edge_monitor.cli.models import command as models
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleError
from edge_monitor.explain.difference import REFERENCE_TEXTS
from edge_monitor.export.assembly import VocabularyFiles
from edge_monitor.export.comparison import unit
from edge_monitor.export.pull import is_built
from edge_monitor.export.quantization import compare, quantize_bundle

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from tests.export.full_size import FullSize

# The first test builds the bundle: minutes on a busy box.
pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

SAMPLES = 308_700
TIME_S = np.arange(SAMPLES) / 44_100


def noise(batch: int, level: float = 0.1) -> NDArray[np.float32]:
    """Return white noise (batch, 308700)."""
    return np.random.default_rng(batch).normal(0.0, level, (batch, SAMPLES)).astype(np.float32)


def tones(*frequencies_hz: float) -> NDArray[np.float32]:
    """Return tones over faint noise, one row each."""
    rows = np.stack([0.4 * np.sin(2.0 * np.pi * hz * TIME_S) for hz in frequencies_hz])
    return (rows + noise(len(rows), 1e-4)).astype(np.float32)


def session(path: Path) -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """Return an ONNX session of one file."""
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def audio(full_size: FullSize) -> Any:  # noqa: ANN401 - as above
    """Return a session of the audio encoder, which takes whole batches."""
    return session(full_size.bundle.folder / "audio.onnx")


@pytest.mark.parametrize(
    "sounds",
    [
        noise(1),
        noise(2),
        noise(3, 0.003),
        tones(440.0),
        tones(60.0, 1000.0, 9000.0),
        np.zeros((2, SAMPLES), np.float32),
    ],
    ids=["noise 1", "noise 2", "faint noise 3", "tone 1", "tones 3", "silence 2"],
)
def test_audio_embeddings_are_msclaps(full_size: FullSize, audio: Any, sounds: NDArray[np.float32]) -> None:  # noqa: ANN401 - as above
    """Within 1e-4 at batches 1, 2 and 3, whatever batch the graph was checked with."""
    (ours,) = audio.run(None, {"waveform": sounds})
    np.testing.assert_allclose(ours, full_size.reference.embed(sounds), atol=1e-4)


@pytest.mark.recordings
def test_audio_embeddings_of_recordings_are_msclaps(full_size: FullSize, recordings: Path) -> None:
    """Within 1e-4 on one real clip of each machine, resampled as the daemon does."""
    import soundfile
    import soxr

    encoder = Encoder(full_size.bundle)
    for machine in ("fan", "pump", "slider", "valve"):
        clip, rate_hz = soundfile.read(min((recordings / machine / "train").glob("*.flac")), dtype="float32")
        sound = soxr.resample(clip, rate_hz, 44_100)[None, :SAMPLES].astype(np.float32)
        np.testing.assert_allclose(encoder.embed(sound), full_size.reference.embed(sound), atol=1e-4)


def test_a_short_sound_is_repeated_as_msclap_does(full_size: FullSize) -> None:
    """Its wrapper repeats up to 7 s and cuts the last copy."""
    import torch

    short = tones(250.0)[:, :100_000]
    repeated = torch.from_numpy(short[0]).repeat(int(np.ceil(SAMPLES / 100_000)))[:SAMPLES].numpy()
    expected = full_size.reference.embed(repeated[None])
    np.testing.assert_allclose(Encoder(full_size.bundle).embed(short), expected, atol=1e-4)


def test_random_weights_react_to_the_sound(full_size: FullSize, audio: Any) -> None:  # noqa: ANN401 - as above
    """Otherwise equal embeddings would prove nothing."""
    (vectors,) = audio.run(None, {"waveform": np.concatenate([noise(1), tones(60.0, 9000.0)])})
    cosines = unit(vectors) @ unit(vectors).T
    assert cosines[np.triu_indices(3, 1)].max() < 0.99
    assert full_size.bundle.manifest.origin is not None


def test_text_embeddings_and_cosines_are_msclaps(full_size: FullSize, audio: Any) -> None:  # noqa: ANN401 - as above
    """Within 1e-4, padded to 77 tokens as msclap does or not at all, and msclap's similarity without its scale."""
    texts = ["Grinding", "a pump that runs dry!", "x " * 74]  # the last is as long as may be
    vocabulary = VocabularyFiles(full_size.folder / "vocab.json", full_size.folder / "merges.txt")
    tokens, mask = vocabulary.tokenized(texts)
    assert tokens.shape == (3, 77)
    theirs = full_size.reference.embed_texts(tokens, mask)
    encoder = session(full_size.bundle.folder / "text.onnx")
    (ours,) = encoder.run(None, {"tokens": tokens})
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    (short,) = encoder.run(None, {"tokens": tokens[:1, : mask[0].sum()]})
    np.testing.assert_allclose(short, theirs[:1], atol=1e-4)
    sounds = tones(300.0, 3000.0)
    (heard,) = audio.run(None, {"waveform": sounds})
    scaled = 14.285714 * unit(theirs) @ unit(full_size.reference.embed(sounds)).T  # exp(logit_scale) as initialized
    np.testing.assert_allclose(unit(ours) @ unit(heard).T, scaled / 14.285714, atol=1e-4)


def test_the_bundle_holds_the_papers_texts_and_ones_own(full_size: FullSize) -> None:
    """Eight reference texts, then the user's, each with msclap's raw embedding."""
    rows = json.loads((full_size.bundle.folder / "texts.json").read_text("utf-8"))["texts"]
    assert [row["text"] for row in rows] == [*REFERENCE_TEXTS, "a dog barks"]
    vocabulary = VocabularyFiles(full_size.folder / "vocab.json", full_size.folder / "merges.txt")
    theirs = full_size.reference.embed_texts(*vocabulary.tokenized([row["text"] for row in rows]))
    np.testing.assert_allclose([row["embedding"] for row in rows], theirs, atol=1e-4)


def test_the_manifest_records_where_it_comes_from_and_what_was_compared(full_size: FullSize) -> None:
    """Random weights are marked, source files have hashes, every graph was compared, what was ignored is listed."""
    origin = full_size.bundle.manifest.origin
    assert origin is not None
    assert origin.build is not None
    assert origin.weights == "random"
    assert all(file.sha256 and file.size_bytes for file in origin.file)
    assert origin.build.caption_encoder == "equal"
    parts = {check.part for check in origin.build.check}
    assert parts == {"audio.onnx", "mapper.onnx", "decoder.onnx", "text.onnx", "texts.json"}
    assert max(check.max_abs for check in origin.build.check if check.part != "decoder.onnx") <= 1e-4
    assert "clapcap_weights_2023.pth: gpt.transformer.h.N.attn.bias (12)" in origin.build.ignored
    assert not [line for line in origin.build.ignored if "qkv" in line or "wte" in line]


def test_the_user_is_told_how_close_it_is(full_size: FullSize) -> None:
    """What is printed names every part, and what of the checkpoints was not used."""
    for line in ("audio.onnx: within", "decoder.onnx: within", "the captioner was trained on this very audio encoder"):
        assert line in full_size.said
    assert "not used: CLAP_weights_2023.pth: audio_encoder.base.htsat.tscam_conv.weight" in full_size.said


def test_nothing_but_the_bundle_is_left(full_size: FullSize) -> None:
    """No working folder, no partial files."""
    assert [path.name for path in (full_size.folder / "models").iterdir()] == ["msclap-2023"]
    written = {path.name for path in full_size.bundle.folder.iterdir()}
    named = {file["path"] for file in tomllib.loads((full_size.recipe / "manifest.toml").read_text())["file"]}
    assert written == named | {"manifest.toml"}


def test_the_int8_variant_hears_the_same(full_size: FullSize) -> None:
    """Its vectors keep a cosine of 0.999 with the float bundle's, in a third of the size; it is a bundle of its own."""
    variant = quantize_bundle(full_size.bundle, full_size.folder / "models/msclap-2023-int8", lambda _: None)
    found = compare(full_size.bundle, variant)
    assert found.cosine >= 0.999
    assert found.int8_bytes < 0.35 * found.float_bytes
    assert variant.name == "msclap-2023-int8"
    assert variant.bundle_hash != full_size.bundle.bundle_hash


def test_texts_that_msclap_would_cut_are_refused_before_anything_is_built(full_size: FullSize) -> None:
    """An empty one, too; they are looked at first."""
    vocabulary = VocabularyFiles(full_size.folder / "vocab.json", full_size.folder / "merges.txt")
    assert vocabulary.tokenized(["word " * 74 + "word"])[0].shape == (1, 77)
    with pytest.raises(BundleError, match=r"--text: a text of 76 tokens: 'word word .+ has at most 75\)"):
        vocabulary.tokenized(["Hum", "word " * 75 + "word"])
    with pytest.raises(BundleError, match="--text: an empty text"):
        vocabulary.tokenized([" "])


def test_a_bundle_that_is_there_is_not_built_again(full_size: FullSize, tmp_path: Path) -> None:
    """It must be whole, from these files, with these texts, and by this version."""
    recipe, built = open_bundle(full_size.recipe), full_size.bundle.folder
    assert is_built(recipe, built, ["a dog barks"])
    pull = ["pull", f"{full_size.recipe}/", "--state-dir", str(full_size.folder), "--text", "a dog barks"]
    done = CliRunner().invoke(models, pull)  # there is no network here
    assert (done.exit_code, done.stderr.splitlines()[0]) == (
        0,
        "it is there already and whole; remove the folder to have it built anew",
    )
    assert not is_built(recipe, built, [])
    assert not is_built(recipe, tmp_path / "msclap-2023", ["a dog barks"])
    for name, old, new in (("files", "vocab.json", "vocab2.json"), ("version", "edge-monitor ", "edge-monitor 9")):
        folder = tmp_path / name
        folder.mkdir()
        for path in built.iterdir():
            (folder / path.name).hardlink_to(path)
        changed = (built / "manifest.toml").read_text("utf-8").replace(old, new)
        (folder / "manifest.toml").unlink()
        (folder / "manifest.toml").write_text(changed, "utf-8")
        open_bundle(folder).verify()
        assert not is_built(recipe, folder, ["a dog barks"]), name
    (folder / "manifest.toml").write_text((built / "manifest.toml").read_text("utf-8"), "utf-8")
    assert is_built(recipe, folder, ["a dog barks"])
    (folder / "texts.json").unlink()
    assert not is_built(recipe, folder, ["a dog barks"])
