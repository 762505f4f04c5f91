"""Bundles are found in order, and what is missing or damaged is said plainly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_monitor.encode.bundle import BundleStatus, find_bundle, list_bundles, open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleError, BundleMismatchError, BundleMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.encode.foreign import ForeignBundle


def test_the_shipped_bundle_is_found_and_whole() -> None:
    """`spectral` needs no state directory and passes verification."""
    bundle = find_bundle("spectral")
    bundle.verify()
    assert bundle.manifest.audio.sample_rate_hz == 16000


def test_a_bundle_dropped_into_the_state_directory_is_found(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A third party's folder becomes usable by its name, without code."""
    folder = foreign.write()
    assert find_bundle("foreign", tmp_path).folder == folder
    listing = list_bundles(tmp_path)[0]
    assert (listing.name, listing.status, listing.detail) == ("foreign", BundleStatus.READY, "")


def test_a_path_is_relative_to_the_configuration(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A name with a slash is a path, taken from `base`."""
    foreign.write()
    assert find_bundle("models/foreign", base=tmp_path).name == "foreign"
    assert find_bundle(str(tmp_path / "models/foreign")).name == "foreign"


def test_the_state_directory_wins_over_the_shipped_bundle(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A node's own bundle of the same name shadows the shipped one, and the list says so."""
    foreign.write(old='name = "foreign"', new='name = "spectral"').rename(tmp_path / "models/spectral")
    assert find_bundle("spectral", tmp_path).manifest.version == "0.3"
    assert [listing.shadowed for listing in list_bundles(tmp_path) if listing.name == "spectral"] == [False, True]


def test_an_unknown_name_says_which_there_are(tmp_path: Path) -> None:
    """The error lists the installed bundles."""
    with pytest.raises(BundleMissingError, match=r"no bundle named 'clap' \(there are: .*spectral"):
        find_bundle("clap", tmp_path)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    """A path that holds no manifest is named."""
    with pytest.raises(BundleMissingError, match=r"no manifest\.toml"):
        open_bundle(tmp_path)


def test_a_missing_file_names_the_command_that_gets_it(foreign: ForeignBundle, tmp_path: Path) -> None:
    """List and load both say how to get the file."""
    folder = foreign.write()
    (folder / "net/encoder.onnx").unlink()
    listing = list_bundles(tmp_path)[0]
    assert listing.status is BundleStatus.MISSING
    assert listing.detail == (
        f"{folder}: net/encoder.onnx is missing "
        "(copy the bundle again from its source, or get it with `fetch-foreign --all`)"
    )
    with pytest.raises(BundleMissingError, match="fetch-foreign --all"):
        Encoder(open_bundle(folder))


def test_a_recipe_whose_files_are_not_built_is_missing(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A manifest without sizes and hashes is listed with the command that builds it."""
    folder = foreign.write()
    manifest = folder / "manifest.toml"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if not line.startswith(("size_bytes", "sha256"))))
    listing = list_bundles(tmp_path)[0]
    assert listing.status is BundleStatus.MISSING
    assert "not built yet (get it with `fetch-foreign --all`)" in listing.detail


def test_a_truncated_file_is_refused(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A file that is one byte short never reaches ONNX Runtime."""
    folder = foreign.write()
    model = folder / "net/encoder.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    assert list_bundles(tmp_path)[0].status is BundleStatus.DAMAGED
    with pytest.raises(BundleMismatchError, match="bytes, the manifest says"):
        Encoder(open_bundle(folder))


def test_a_changed_byte_is_refused(foreign: ForeignBundle) -> None:
    """A file of the right size with another hash never reaches ONNX Runtime."""
    folder = foreign.write()
    model = folder / "net/encoder.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with pytest.raises(BundleMismatchError, match="SHA-256"):
        Encoder(open_bundle(folder))
    with pytest.raises(BundleMismatchError, match="SHA-256"):
        open_bundle(folder).verify()


def test_a_link_out_of_the_bundle_is_refused(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A symbolic link cannot smuggle in a file from elsewhere."""
    folder = foreign.write()
    model = folder / "net/encoder.onnx"
    model.rename(tmp_path / "elsewhere.onnx")
    model.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        open_bundle(folder).verify()


def test_a_wrong_manifest_is_listed_not_fatal(foreign: ForeignBundle, tmp_path: Path) -> None:
    """One bad manifest does not hide the other bundles."""
    foreign.write(old="dim = 3", new="dim = -3")
    listings = {listing.name: listing.status for listing in list_bundles(tmp_path)}
    assert listings["foreign"] is BundleStatus.INVALID
    assert listings["spectral"] is BundleStatus.READY


def test_folder_and_manifest_must_agree_on_the_name(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A bundle found by its folder's name is the one its manifest says it is."""
    foreign.write(old='name = "foreign"', new='name = "other"')
    with pytest.raises(BundleError, match="give both the same name"):
        find_bundle("foreign", tmp_path)
