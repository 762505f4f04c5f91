"""Bundles are built alone, and replace nothing but an earlier build of their own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.errors import BundleError
from edge_monitor.export.place import alone, require_free
from tests.export.test_pull_command import SPECTRAL, refused

GET = "edge-monitor models build spectral"  # what the shipped bundle's manifest says


def test_what_is_no_earlier_build_is_not_replaced(tmp_path: Path) -> None:
    """A file, a folder of somebody's, another bundle, one made by hand, one with a note in it: refused, and there."""
    (tmp_path / "spectral").write_text("mine")
    with pytest.raises(BundleError, match=r"spectral: cannot be replaced: Not a directory \(choose another --out"):
        require_free(tmp_path / "spectral", "spectral", GET)
    thesis = tmp_path / "docs/thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    line = refused("quantize", "spectral", "--out", str(tmp_path / "docs"))
    assert line == f"{tmp_path}/docs: holds something else than a bundle (choose another --out, or remove it yourself)"
    assert thesis.read_text() == "mine"
    bundle = shutil.copytree(SPECTRAL, tmp_path / "models/spectral")
    require_free(bundle, "spectral", GET)
    for name, get in (("other", GET), ("spectral", "another-command"), ("spectral", None)):
        with pytest.raises(BundleError, match="holds the bundle 'spectral', made otherwise"):
            require_free(bundle, name, get)
    (bundle / "notes/mine.txt").parent.mkdir()
    require_free(bundle, "spectral", GET)  # an empty folder
    (bundle / "notes/mine.txt").touch()
    with pytest.raises(BundleError, match=r"holds 'notes/mine\.txt' beside a bundle"):
        require_free(bundle, "spectral", GET)
    assert (tmp_path / "spectral").read_text() == "mine"


def test_a_bundle_with_a_wrong_manifest_is_told_as_such(tmp_path: Path) -> None:
    """It is a bundle; what is wrong with it is what a user wants to know."""
    bundle = shutil.copytree(SPECTRAL, tmp_path / "spectral")
    (bundle / "manifest.toml").write_text("schema_version = 7\n")
    with pytest.raises(BundleError, match=r"manifest\.toml: schema_version: "):
        require_free(bundle, "spectral", GET)


def test_a_new_or_empty_folder_is_free(tmp_path: Path) -> None:
    """There is nothing to lose."""
    require_free(tmp_path / "new", "new", GET)
    require_free(tmp_path, "any", GET)
    with pytest.raises(BundleError, match="is a mount point and cannot be replaced"):
        require_free(Path("/proc"), "proc", GET)


def test_a_bundle_is_not_replaced_by_its_own_variant(tmp_path: Path) -> None:
    """The source would be gone."""
    bundle = shutil.copytree(SPECTRAL, tmp_path / "spectral")
    line = refused("quantize", f"{bundle}/", "--out", str(bundle))
    assert line == f"{bundle}: is the bundle that is read (choose another --out)"
    open_bundle(bundle).verify()


def test_two_commands_do_not_build_in_one_folder(tmp_path: Path) -> None:
    """The second is refused while the first lives, and only then: one that was killed holds nothing."""
    out = tmp_path / "models/any"
    code = "import sys, time; from pathlib import Path; from edge_monitor.export.place import alone\n"
    code += "with alone(Path(sys.argv[1])):\n    print('in', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"in\n"
        with pytest.raises(BundleError, match="another command is building a bundle here"), alone(out):
            pass
        first.kill()
    with alone(out):
        pass


REPLACE = """
import os, signal, sys
from pathlib import Path
from edge_monitor.export.place import building, put_in_place

def rename(self, target, rename=Path.rename):
    rename(self, target)
    Path.rename, former = rename, target.name == "-former"
    os.kill(os.getpid(), getattr(signal, sys.argv[2]) if former else 0)

Path.rename = rename
out = Path(sys.argv[1])
with building(out, "spectral") as folder:
    put_in_place(folder, out)
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_an_end_between_the_two_renames_loses_no_bundle(tmp_path: Path, name: str) -> None:
    """Interrupted, it puts the former bundle back; killed, the next command does, before it begins."""
    out = shutil.copytree(SPECTRAL, tmp_path / "models/spectral")
    done = subprocess.run([sys.executable, "-c", REPLACE, str(out), name], check=False, capture_output=True)
    assert done.returncode == -getattr(signal, name), done.stderr
    assert out.exists() == (name == "SIGINT")
    with alone(out):
        open_bundle(out).verify()


def test_checkpoints_in_the_wrong_order_are_told_so(tmp_path: Path) -> None:
    """The captioner's has the size that the recipe names; it is not to be downloaded again."""
    encoder, captioner = tmp_path / "CLAP.pth", tmp_path / "CLAPCAP.pth"
    encoder.touch()
    with captioner.open("wb") as sparse:
        sparse.truncate(1_712_037_386)
    line = refused("pull", "msclap-2023", "--state-dir", str(tmp_path), "--from-file", str(captioner), str(encoder))
    assert line == f"{captioner}: is the captioner's checkpoint (give the encoder's first)"
