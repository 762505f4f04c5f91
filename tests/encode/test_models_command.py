"""`edge-monitor models` says what is there, what is wrong and what to do."""

from __future__ import annotations

import builtins
import json
import os
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from edge_monitor.cli.models import command as models
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.encode.foreign import ForeignBundle


def test_list_shows_the_shipped_bundle_as_ready() -> None:
    """The JSON form carries what a script needs."""
    result = CliRunner().invoke(models, ["list", "--json"])
    assert result.exit_code == 0
    row = next(row for row in json.loads(result.stdout) if row["name"] == "spectral")
    assert (row["status"], row["sample_rate_hz"], row["window_s"], row["dim"]) == ("ready", 16000, 10.0, 304)


def test_list_says_how_to_get_what_is_missing(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A manifest without its files is listed with the command."""
    (foreign.write() / "net/encoder.onnx").unlink()
    result = CliRunner().invoke(models, ["list", "--state-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "get it with `fetch-foreign --all`" in result.stdout


def test_verify_ends_with_1_when_a_hash_differs(foreign: ForeignBundle, tmp_path: Path) -> None:
    """Every bundle is checked, the damaged one is named, the exit code says so."""
    folder = foreign.write()
    content = bytearray((folder / "net/encoder.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "net/encoder.onnx").write_bytes(content)
    result = CliRunner().invoke(models, ["verify", "--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "spectral: ok" in result.stdout
    assert "SHA-256" in result.stderr


def test_verify_and_list_agree_on_a_folder_of_another_name(foreign: ForeignBundle, tmp_path: Path) -> None:
    """A bundle is known by its folder's name, which its manifest must share."""
    folder = foreign.write()
    folder.rename(folder.with_name("other"))
    said = "name: is 'foreign', the folder is 'other' (give both the same name)"
    assert said in CliRunner().invoke(models, ["list", "--state-dir", str(tmp_path)]).stdout
    result = CliRunner().invoke(models, ["verify", "--state-dir", str(tmp_path)])
    assert (result.exit_code, said in result.stderr) == (1, True)


def test_verify_of_one_bundle_by_name_or_path(foreign: ForeignBundle) -> None:
    """NAME may be a bundle's name or a path with a slash."""
    assert CliRunner().invoke(models, ["verify", "spectral"]).stdout == "spectral: ok\n"
    assert CliRunner().invoke(models, ["verify", str(foreign.write())]).exit_code == 0


def test_verify_of_an_unknown_name_is_a_bundle_error() -> None:
    """The main command prints it as one line."""
    result = CliRunner().invoke(models, ["verify", "nowhere"])
    assert isinstance(result.exception, BundleError)


def test_build_spectral_writes_a_whole_bundle(tmp_path: Path) -> None:
    """What is built verifies."""
    out = tmp_path / "spectral"
    result = CliRunner().invoke(models, ["build", "spectral", "--out", str(out)])
    assert result.exit_code == 0
    assert CliRunner().invoke(models, ["verify", f"{out}/"]).exit_code == 0


def test_every_user_may_read_what_is_built(tmp_path: Path) -> None:
    """Root builds under a strict umask, the daemon's user reads."""
    out = tmp_path / "models" / "spectral"
    mask = os.umask(0o077)
    try:
        assert CliRunner().invoke(models, ["build", "spectral", "--out", str(out)]).exit_code == 0
    finally:
        os.umask(mask)
    assert all(path.stat().st_mode & 0o055 == 0o055 for path in (out.parent, out))
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in out.iterdir())


def test_build_without_onnx_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The base install has no onnx; the one line names the extra."""
    real_import = builtins.__import__

    def without_onnx(name: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - import's own signature
        if name == "onnx":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    result = CliRunner().invoke(models, ["build", "spectral", "--out", str(tmp_path / "s")])
    assert isinstance(result.exception, BundleError)
    assert str(result.exception) == "the onnx package is missing (pip install 'edge-monitor[export]')"
