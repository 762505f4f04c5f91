"""The manifest refuses what it does not understand, in one line."""

from __future__ import annotations

import pytest

from edge_monitor.encode.manifest import Manifest, parse_manifest
from edge_monitor.errors import BundleError

HASH = "0" * 64
VALID = f"""\
schema_version = 1
name = "tiny"
version = "1"
licence = "MIT"
source = "here"
revision = "1"
abilities = ["audio"]

[audio]
file = "a.onnx"
input = "x"
output = "y"
sample_rate_hz = 8000
window_s = 1.5
dim = 4
short_input = "repeat"

[scoring]
metric = "standardized-euclidean"
standardization_floor = 0.5
normalize = "none"

[[file]]
path = "a.onnx"
size_bytes = 10
sha256 = "{HASH}"
"""

CAPTIONS_HASH = "3" * 64
# The same bundle with captions and similarities, whose files are not all built yet.
TALKING = (
    VALID.replace('abilities = ["audio"]', 'abilities = ["audio", "captions", "text-similarity"]\nget = "fetch-tiny"')
    + f"""
[captions]
normalize = "unit"
mapper = "mapper.onnx"
decoder = "decoder.onnx"
vocabulary = "vocabulary.json"
stop_id = 220

[similarity]
normalize = "unit"
texts = "texts.json"

[[file]]
path = "decoder.onnx"
part = "captions"
size_bytes = 10
sha256 = "{CAPTIONS_HASH}"

[[file]]
path = "mapper.onnx"
part = "captions"

[[file]]
path = "vocabulary.json"
part = "captions"

[[file]]
path = "texts.json"
part = "text-similarity"
"""
)


def parsed(old: str = "", new: str = "", text: str = VALID) -> Manifest:
    """Parse a manifest with `old` replaced by `new`."""
    assert old in text
    return parse_manifest(text.replace(old, new) if old else text, where="m.toml")


def test_values_are_read_as_written() -> None:
    """Every field arrives with its unit's value."""
    manifest = parsed()
    assert manifest.audio.sample_rate_hz == 8000
    assert manifest.audio.window_samples == 12000
    assert manifest.audio.dim == 4
    assert manifest.scoring.standardization_floor == 0.5
    assert manifest.abilities == ("audio",)


def test_a_bundle_with_captions_and_text_fits() -> None:
    """A manifest parses before its files are built, each use with its own normalization."""
    manifest = parsed(text=TALKING)
    assert manifest.scoring.normalize == "none"
    assert manifest.captions is not None
    assert manifest.captions.normalize == "unit"
    assert manifest.similarity is not None
    assert [file.path for file in manifest.files_of("captions")] == ["decoder.onnx", "mapper.onnx", "vocabulary.json"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("schema_version = 1", "schema_version = 2", "m.toml: schema_version: Input should be 1"),
        ('name = "tiny"', 'name = "../tiny"', "m.toml: name: String should match pattern"),
        ('licence = "MIT"\n', "", "m.toml: licence: Field required"),
        ('licence = "MIT"', 'license = "MIT"', "m.toml: license: unknown key"),
        ("dim = 4", "dim = 4\nrate = 1", "m.toml: audio.rate: unknown key"),
        ("schema_version = 1", "schema_version = 2\nlater = 1", "m.toml: schema_version: Input should be 1"),
        ("dim = 4", "dim = 4.0", "m.toml: audio.dim: Input should be a valid integer"),
        ("dim = 4", "dim = 0", "m.toml: audio.dim: Input should be greater than or equal to 1"),
        ("window_s = 1.5", "window_s = 1.50001", "m.toml: audio: window_s x sample_rate_hz must be a whole number"),
        ("window_s = 1.5", "window_s = nan", "m.toml: audio.window_s: Input should be"),
        ('"repeat"', '"crop"', "m.toml: audio.short_input: Input should be 'repeat'"),
        ("standardization_floor = 0.5\n", "", "m.toml: scoring: standardization_floor goes with metric"),
        ('"standardized-euclidean"', '"euclidean"', "m.toml: scoring: standardization_floor goes with metric"),
        ('"standardized-euclidean"', '"cosine"', "m.toml: scoring.metric: Input should be 'euclidean' or"),
        ('["audio"]', '["captions"]', "m.toml: abilities must name 'audio'"),
        ('["audio"]', '["audio", "captions"]', "m.toml: ability 'captions' and table [captions] go together"),
        ('["audio"]', '["audio", "smell"]', "m.toml: abilities.1: Input should be"),
        ('path = "a.onnx"', 'path = "b.onnx"', "m.toml: [[file]] with path = 'a.onnx' and part = 'audio' is missing"),
        ('path = "a.onnx"', 'path = "../a.onnx"', "m.toml: file.0.path: must be a relative file name"),
        ('path = "a.onnx"', 'path = "/etc/passwd"', "m.toml: file.0.path: must be a relative file name"),
        ('path = "a.onnx"', 'path = "n/../../a.onnx"', "m.toml: file.0.path: must be a relative file name"),
        ('path = "a.onnx"', "path = 'n\\a.onnx'", "m.toml: file.0.path: must be a relative file name"),
        ('file = "a.onnx"', 'file = "../a.onnx"', "m.toml: audio.file: must be a relative file name"),
        ("size_bytes = 10\n", "", "m.toml: file.0: needs both size_bytes and sha256"),
        (HASH, "0" * 63, "m.toml: file.0.sha256: String should match pattern"),
        ("dim = 4", "dim = ", "m.toml: not valid TOML"),
    ],
)
def test_a_wrong_manifest_is_one_line_with_file_and_key(old: str, new: str, line: str) -> None:
    """The error names the file, the key and what is wrong, without a line break."""
    with pytest.raises(BundleError) as caught:
        parsed(old, new)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('mapper = "mapper.onnx"\n', "", "m.toml: captions.mapper: Field required"),
        (
            'texts = "texts.json"',
            'texts = "t.json"',
            "m.toml: [[file]] with path = 't.json' is missing, similarity.texts",
        ),
        (
            'texts = "texts.json"',
            'texts = "texts.json"\ntext_encoder = "t.onnx"',
            "m.toml: similarity: text_encoder and",
        ),
    ],
)
def test_what_captions_and_similarity_name_must_be_among_the_files(old: str, new: str, line: str) -> None:
    """A file that is used has a size and a hash to be checked by."""
    with pytest.raises(BundleError) as caught:
        parsed(old, new, TALKING)
    assert str(caught.value).startswith(line)


def test_floors_per_block_must_cover_every_dimension() -> None:
    """A list of floors adds up to the dimension, or is refused."""
    block = "standardization_floor = [{ dims = 1, floor = 0.5 }, { dims = 3, floor = 0.25 }]"
    floors = parsed("standardization_floor = 0.5", block).scoring.standardization_floor
    assert isinstance(floors, tuple)
    assert [(floor.dims, floor.floor) for floor in floors] == [(1, 0.5), (3, 0.25)]
    with pytest.raises(BundleError, match="must add up to 4"):
        parsed("standardization_floor = 0.5", block.replace("dims = 3", "dims = 2"))


SCORER = """[scorer]
name = "sub-band"
bands = 3
[scorer.envelope]
bands = 1
low_hz = 100.0
high_hz = 3000.0
rates_hz = [6, 12]

[[file]]"""


def test_an_envelope_is_a_last_block_of_its_own() -> None:
    """Three bands and one value more are four dimensions; it changes no hash, as the rest of the scorer's table."""
    manifest = parsed("[[file]]", SCORER)
    assert manifest.scorer.envelope is not None
    assert manifest.scorer.envelope.values == 1
    assert manifest.bundle_hash == parsed().bundle_hash


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("bands = 3", "bands = 2", "scorer.bands must divide 3, the dimension less the envelope"),
        ("bands = 3\n", "", "scorer.envelope goes with scorer.bands, and has fewer values"),
        ("[6, 12]", "[6, 12, 24, 48]", "scorer.envelope goes with scorer.bands, and has fewer values"),
        ("[6, 12]", "[12, 6]", "scorer.envelope: low_hz to high_hz and rates_hz must ascend"),
        ("high_hz = 3000.0", "high_hz = 30.0", "scorer.envelope: low_hz to high_hz and rates_hz must ascend"),
    ],
)
def test_an_envelope_that_does_not_fit_is_refused(old: str, new: str, line: str) -> None:
    """One line says what is wrong with it."""
    with pytest.raises(BundleError) as caught:
        parsed("[[file]]", SCORER.replace(old, new))
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HASH, "1" * 64),
        ("sample_rate_hz = 8000", "sample_rate_hz = 16000"),
        ("window_s = 1.5", "window_s = 2.0"),
        ('output = "y"', 'output = "z"'),
        ("standardization_floor = 0.5", "standardization_floor = 0.25"),
        ('normalize = "none"', 'normalize = "unit"'),
    ],
)
def test_whatever_decides_a_score_changes_the_bundle_hash(old: str, new: str) -> None:
    """Vectors of a bundle that would score differently carry another stamp."""
    assert parsed(old, new).bundle_hash != parsed().bundle_hash


def test_names_and_captions_leave_the_bundle_hash() -> None:
    """A renamed bundle, or one with other captions, still knows its normals."""
    assert parsed('name = "tiny"', 'name = "small"').bundle_hash == parsed().bundle_hash
    assert parsed(CAPTIONS_HASH, "2" * 64, TALKING).bundle_hash == parsed(text=TALKING).bundle_hash
