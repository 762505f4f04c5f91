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
from edge_monitor.export.place import alone, fresh, require_free
from tests.export.test_pull_command import SPECTRAL, refused


def test_what_is_no_earlier_build_is_not_replaced(tmp_path: Path) -> None:
    """A file, a folder of somebody's, another bundle, a bundle with a note in it: refused, and still there."""
    (tmp_path / "spectral").write_text("mine")
    with pytest.raises(BundleError, match=r"spectral: cannot be replaced: Not a directory \(choose another --out"):
        require_free(tmp_path / "spectral", "spectral")
    thesis = tmp_path / "docs/thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    line = refused("quantize", "spectral", "--out", str(tmp_path / "docs"))
    assert line == f"{tmp_path}/docs: holds something else than a bundle (choose another --out, or remove it yourself)"
    assert thesis.read_text() == "mine"
    bundle = shutil.copytree(SPECTRAL, tmp_path / "models/spectral")
    require_free(bundle, "spectral")
    with pytest.raises(BundleError, match="holds the bundle 'spectral', not 'other'"):
        require_free(bundle, "other")
    (bundle / "note.txt").touch()
    with pytest.raises(BundleError, match=r"holds 'note\.txt' beside a bundle"):
        require_free(bundle, "spectral")
    assert (tmp_path / "spectral").read_text() == "mine"


def test_a_new_or_empty_folder_is_free(tmp_path: Path) -> None:
    """There is nothing to lose."""
    require_free(tmp_path / "new", "new")
    require_free(tmp_path, "any")
    with pytest.raises(BundleError, match="is a mount point and cannot be replaced"):
        require_free(Path("/proc"), "proc")


def test_a_bundle_is_not_replaced_by_its_own_variant(tmp_path: Path) -> None:
    """The source would be gone."""
    bundle = shutil.copytree(SPECTRAL, tmp_path / "spectral")
    line = refused("quantize", f"{bundle}/", "--out", str(bundle))
    assert line == f"{bundle}: is the bundle that is read (choose another --out)"
    open_bundle(bundle).verify()


def test_two_commands_do_not_build_in_one_folder(tmp_path: Path) -> None:
    """The second is refused while the first lives, and only then: one that was killed holds nothing."""
    folder = tmp_path / "models"
    code = "import sys, time; from pathlib import Path; from edge_monitor.export.place import alone\n"
    code += "with alone(Path(sys.argv[1])):\n    print('in', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"in\n"
        with pytest.raises(BundleError, match="another command is building a bundle here"), alone(folder):
            pass
        first.kill()
    with alone(folder):
        pass


def test_a_kill_between_the_two_renames_loses_no_bundle(tmp_path: Path) -> None:
    """The next command puts the former bundle back before it begins; the finished one is built again."""
    out = shutil.copytree(SPECTRAL, tmp_path / "models/spectral")
    work = fresh(out, "spectral")
    shutil.copytree(SPECTRAL, work, dirs_exist_ok=True)
    code = "import os, signal, sys; from pathlib import Path; from edge_monitor.export.place import put_in_place\n"
    code += "rename = Path.rename\n"
    code += "Path.rename = lambda a, b: rename(a, b) and os.kill(os.getpid(), signal.SIGKILL)\n"
    code += "put_in_place(Path(sys.argv[1]), Path(sys.argv[2]))"
    assert subprocess.run([sys.executable, "-c", code, str(work), str(out)], check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    assert list(fresh(out, "spectral").iterdir()) == []
    open_bundle(out).verify()


def test_checkpoints_in_the_wrong_order_are_told_so(tmp_path: Path) -> None:
    """The captioner's has the size that the recipe names; it is not to be downloaded again."""
    encoder, captioner = tmp_path / "CLAP.pth", tmp_path / "CLAPCAP.pth"
    encoder.touch()
    with captioner.open("wb") as sparse:
        sparse.truncate(1_712_037_386)
    line = refused("pull", "msclap-2023", "--state-dir", str(tmp_path), "--from-file", str(captioner), str(encoder))
    assert line == f"{captioner}: is the captioner's checkpoint (give the encoder's first)"
