"""The wheel works outside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel built from this tree, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=100)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command of the wheel in a fresh environment; only the packages it needs come from this one."""
    environment = tmp_path_factory.mktemp("outside") / "venv"
    python = environment / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=100)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)],
        check=True,
        timeout=100,
    )
    site = next(environment.glob("lib/python*/site-packages"))
    # a path in a .pth file is searched after the wheel, and the .pth files in it (this tree's own) are not read
    (site / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin/edge-monitor"


def run(command: Path, *arguments: str, folder: Path) -> str:
    """Return what a command prints, run where the repository cannot be seen."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "EDGE_MONITOR_CONFIG"}}
    return subprocess.run(
        [command, *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_the_wheel_has_the_package_the_example_and_the_bundle_and_stays_small(wheel: Path) -> None:
    """What is used at run time is in the wheel, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for name in (
        "py.typed",
        "config/example.toml",
        *(
            f"_models/{bundle}/{file}"
            for bundle in ("spectral", "spectral-1")
            for file in ("manifest.toml", "model.onnx")
        ),
    ):
        assert f"edge_monitor/{name}" in names
    assert {name.split("/")[0] for name in names} == {"edge_monitor", "edge_monitor-0.1.0.dist-info"}
    assert wheel.stat().st_size < 5_000_000


def test_the_installed_command_answers(installed: Path, tmp_path: Path) -> None:
    """The console script starts, and it is the wheel's package that answers."""
    assert "Commands:" in run(installed, "--help", folder=tmp_path)
    code = "import edge_monitor; print(edge_monitor.__file__)"
    assert run(installed.with_name("python"), "-c", code, folder=tmp_path).startswith(str(installed.parent.parent))


def test_the_installed_command_writes_a_configuration_it_accepts(installed: Path, tmp_path: Path) -> None:
    """The example is found in the wheel."""
    run(installed, "config", "init", folder=tmp_path)
    assert ": ok: " in run(installed, "config", "check", folder=tmp_path)


def test_the_installed_command_finds_the_packaged_bundle(installed: Path, tmp_path: Path) -> None:
    """The default encoder needs no download."""
    assert "spectral" in json.dumps(json.loads(run(installed, "models", "list", "--json", folder=tmp_path)))
