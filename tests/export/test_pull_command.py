"""`edge-monitor models pull|export|quantize` where torch is not installed, and every other command without torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import requires
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_monitor.cli.models import command as models
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.manifest import parse_manifest
from edge_monitor.errors import BundleError
from edge_monitor.export import environment
from edge_monitor.export.assembly import manifest_text
from edge_monitor.export.place import building, put_in_place, require_space

REPOSITORY = Path(__file__).parents[2]
SPECTRAL = REPOSITORY / "models/spectral"
TORCH_SIDE = ("torch", "msclap", "transformers", "tokenizers", "huggingface_hub", "librosa", "torchlibrosa")


def refused(*arguments: str) -> str:
    """Return the line that a command ends with."""
    result = CliRunner().invoke(models, list(arguments))
    assert isinstance(result.exception, BundleError)
    return str(result.exception)


def test_the_recipe_is_listed_as_missing_with_the_command_that_gets_it() -> None:
    """A user who has not built it is told how."""
    result = CliRunner().invoke(models, ["list"])
    assert "msclap-2023          missing" in result.stdout
    assert "audio.onnx is not built yet (get it with `edge-monitor models pull msclap-2023`)" in result.stdout


def test_verify_passes_over_recipes_but_not_when_one_is_named() -> None:
    """What nobody built cannot be damaged."""
    result = CliRunner().invoke(models, ["verify"])
    assert (result.exit_code, "msclap" in result.output) == (0, False)
    result = CliRunner().invoke(models, ["verify", "msclap-2023"])
    assert result.exit_code == 1
    assert "is not built yet" in result.stderr


def test_a_bundle_without_an_origin_cannot_be_pulled(tmp_path: Path) -> None:
    """The default bundle is there already."""
    assert "spectral: is not built from published weights" in refused("pull", "spectral", "--state-dir", str(tmp_path))


def test_a_place_is_needed_and_must_bear_the_bundles_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configuration nothing is written wherever the user happens to be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGE_MONITOR_CONFIG", raising=False)
    assert "give --out FOLDER or --state-dir FOLDER" in refused("pull", "msclap-2023")
    assert "must be named 'msclap-2023'" in refused("pull", "msclap-2023", "--out", str(tmp_path / "clap"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(environment.this_one_fits(), reason="torch is installed here")
def test_export_without_torch_names_the_command_that_brings_it(tmp_path: Path) -> None:
    """`models export` never makes an environment."""
    line = refused("export", "msclap-2023", "a.pth", "b.pth", "--state-dir", str(tmp_path))
    assert line == "torch and msclap are missing here (`edge-monitor models pull msclap-2023 --from-file …`)"


def test_copies_are_looked_for_before_an_environment_is_made(tmp_path: Path) -> None:
    """A mistyped path costs no minutes, nor do GPT-2's files that are not beside the checkpoint."""
    encoder, captioner = tmp_path / "CLAP.pth", tmp_path / "CLAPCAP.pth"
    arguments = ("pull", "msclap-2023", "--state-dir", str(tmp_path), "--from-file", str(encoder), str(captioner))
    assert refused(*arguments) == (
        f"{encoder}: cannot be read: No such file or directory (it is CLAP_weights_2023.pth of microsoft/msclap)"
    )
    encoder.touch()
    captioner.touch()
    assert refused(*arguments) == f"{captioner}: has 0 bytes, expected 1712037386 (get it again)"
    with captioner.open("wb") as sparse:
        sparse.truncate(1_712_037_386)
    assert refused(*arguments) == (
        f"{tmp_path}/vocab.json: cannot be read: No such file or directory (it is vocab.json of openai-community/gpt2)"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CLAP.pth", "CLAPCAP.pth"]


def test_an_environment_that_cannot_be_made_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the wheels, pip's own reason; what it had begun is gone."""
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    with pytest.raises(BundleError, match=r"packages: No matching distribution found for torch==[\d.]+ \("):
        environment.make(tmp_path / "environment", said.append)
    assert said == [f"making an environment with torch in {tmp_path}/environment"]
    assert list(tmp_path.iterdir()) == []


def test_too_small_a_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """The line says how much there is and how much it takes."""
    with pytest.raises(BundleError, match=r"GB free, 1000000\.0 GB needed \(make room or choose another --out\)"):
        require_space(tmp_path / "models/msclap-2023", 10**15)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_bundle_replaces_the_old_one_whole(tmp_path: Path) -> None:
    """What was there is gone only when the new one is in place."""
    old = tmp_path / "models/spectral"
    shutil.copytree(SPECTRAL, old)
    (old / "mark").touch()
    with building(old, "spectral") as new:
        shutil.copytree(SPECTRAL, new, dirs_exist_ok=True)
        put_in_place(new, old)
    open_bundle(old).verify()
    assert not (old / "mark").exists()
    with building(old, "spectral") as new:
        new.rmdir()
        with pytest.raises(BundleError, match="cannot be put in place"):
            put_in_place(new, old)
    open_bundle(old).verify()
    assert [path.name for path in old.parent.iterdir()] == ["spectral"]


def test_a_manifest_survives_being_written() -> None:
    """Every manifest of this repository, nested tables and all."""
    for path in (REPOSITORY / "models").glob("*/manifest.toml"):
        manifest = parse_manifest(path.read_text("utf-8"), where=str(path))
        assert parse_manifest(manifest_text(manifest), where="written") == manifest


def test_nothing_to_quantize_is_an_error(tmp_path: Path) -> None:
    """The default bundle has no linear layers, and no copy of it is left."""
    line = refused("quantize", "spectral", "--out", str(tmp_path / "spectral-int8"))
    assert line == "spectral: has no linear layers to quantize (take it as it is)"
    assert list(tmp_path.iterdir()) == []


def test_everything_imports_and_every_other_command_runs_without_torch(tmp_path: Path) -> None:
    """In a process where the packages of the export environment cannot be imported, even if they are installed."""
    code = f"""
import importlib, pkgutil, sys
for name in {TORCH_SIDE!r}:
    sys.modules[name] = None  # makes `import name` fail
import edge_monitor
for module in pkgutil.walk_packages(edge_monitor.__path__, "edge_monitor."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from click.testing import CliRunner
from edge_monitor.cli.main import group
def every(command, words):
    yield words
    for name, inner in getattr(command, "commands", {{}}).items():
        yield from every(inner, [*words, name])
for words in every(group, []):
    assert CliRunner().invoke(group, [*words, "--help"]).exit_code == 0, words
assert CliRunner().invoke(group, ["models", "verify"]).exit_code == 0
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "fine\n", done.stderr


def test_the_lock_file_pins_everything_and_leaves_torchaudio_out() -> None:
    """Every line names one version; the two packages with CUDA are not among them."""
    lines = [line for line in environment.LOCK.read_text("utf-8").splitlines() if not line.startswith("#")]
    names = [line.split("==")[0] for line in lines]
    assert all(line.count("==") == 1 for line in lines)
    assert {"torch", "msclap", "onnx", "huggingface_hub"} <= set(names)
    assert not [name for name in names if name.startswith(("torchaudio", "nvidia", "triton"))]


@pytest.mark.torch
def test_the_lock_file_holds_what_torch_needs_beside_cuda() -> None:
    """Or an air-gapped machine, which has these wheels and no others, could not finish the environment."""
    lines = environment.LOCK.read_text("utf-8").splitlines()
    locked = {line.split("==")[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}
    needed = [re.split(r"[^\w.-]", line)[0].lower() for line in requires("torch") or [] if "extra ==" not in line]
    assert "sympy" in needed
    assert [name for name in needed if name not in locked and not name.startswith(("nvidia", "cuda", "triton"))] == []


def test_an_environment_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    """Only the copy of the lock file, written last, makes it whole; another version's does not."""
    assert not environment.is_made(tmp_path)
    (tmp_path / "edge-monitor-lock.txt").write_text("torch==1.0\n")
    assert not environment.is_made(tmp_path)
    shutil.copy(environment.LOCK, tmp_path / "edge-monitor-lock.txt")
    assert environment.is_made(tmp_path)


def test_what_runs_in_the_environment_reports_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's telemetry, which keeps an id and a queue at home from its import on, stays off."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    environment._run([sys.executable, "-c", "import onnxruntime"], "does not work")
    assert list(tmp_path.rglob("*")) == []


def test_packages_of_the_environment_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed edge-monitor lies beside other versions of what the lock file names; those are not taken."""
    venv.create(tmp_path / "environment")
    [packages] = (tmp_path / "environment/lib").glob("python*/site-packages")
    (packages / "pinned.py").write_text("version = 7\n")
    installed = tmp_path / "installed"
    (installed / "edge_monitor/export").mkdir(parents=True)
    (installed / "edge_monitor/export/__main__.py").write_text("import pinned\nmain = lambda: exit(pinned.version)\n")
    for beside in (installed, tmp_path):  # the second is the current folder
        (beside / "pinned.py").write_text("version = 1\n")
    monkeypatch.setattr(environment, "__file__", str(installed / "edge_monitor/export/environment.py"))
    monkeypatch.chdir(tmp_path)
    assert environment.run_export(tmp_path / "environment", []) == 7
