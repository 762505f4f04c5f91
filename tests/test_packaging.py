"""The wheel works outside the repository, and the README names only commands that exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import click
import pytest

from edge_monitor.cli.main import group

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
        check=True, timeout=100,
    )  # fmt: skip
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
    for name in ("py.typed", "example.toml", "_models/spectral/manifest.toml", "_models/spectral/model.onnx"):
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


def commands_in(path: Path) -> list[str]:
    """Return the `edge-monitor …` lines of a Markdown file's code blocks."""
    blocks = re.findall(r"^ *```(?:sh|console)?\n(.*?)^ *```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ").removeprefix("sudo ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("edge-monitor ")]


@pytest.mark.parametrize("line", commands_in(REPOSITORY / "README.md"))
def test_every_command_in_the_readme_exists_with_its_options(line: str) -> None:
    """What the README tells a user to type is understood."""
    command: click.Command = group
    context = click.Context(group)
    words = shlex.split(line, comments=True)[1:]
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, line


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_link_in_the_first_pages_leads_somewhere(name: str) -> None:
    """A reader is not sent to a file that is not there."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (REPOSITORY / name).read_text("utf-8"))
    assert [link for link in links if not (REPOSITORY / link).exists()] == []
