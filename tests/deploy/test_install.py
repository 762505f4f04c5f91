"""The installer, in a scratch root and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]


def needed(name: str) -> dict[str, Distribution]:
    """Return what a distribution needs to run, all the way down, by name."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        for text in distribution(waiting.pop()).requires or []:
            wanted = Requirement(text)
            if (wanted.marker is None or wanted.marker.evaluate({"extra": ""})) and wanted.name not in found:
                found[wanted.name] = distribution(wanted.name)
                waiting.append(wanted.name)
    return found


def write_wheel(installed: Distribution, folder: Path) -> None:
    """Put an installed distribution back into a wheel: nothing is downloaded or compiled."""
    about = installed.read_text("WHEEL") or ""
    tags = [line.partition(": ")[2].split("-") for line in about.splitlines() if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))  # all of python, abi, platform
    name = installed.metadata["Name"].replace("-", "_")
    with zipfile.ZipFile(folder / f"{name}-{installed.version}-{tag}.whl", "w") as wheel:
        for file in installed.files or []:
            if ".." not in file.parts and file.suffix != ".pyc" and file.name not in {"INSTALLER", "REQUESTED"}:
                wheel.write(str(installed.locate_file(file)), str(file))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the product's wheel and those of all it needs."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=100)
    for each in needed("edge-monitor").values():
        write_wheel(each, folder)
    return folder


def install(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installer, where the network's packages cannot be found."""
    return subprocess.run(
        [REPOSITORY / "deploy/install.sh", *arguments],
        env={**os.environ, "PYTHON": sys.executable, "PIP_INDEX_URL": "http://127.0.0.1:9/", "PYTHONPATH": ""},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scratch root with the service installed."""
    folder = tmp_path_factory.mktemp("root")
    done = install("--root", str(folder), "--wheels", str(wheels))
    assert done.returncode == 0, done.stderr
    return folder


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(
        [root / "opt/edge-monitor/bin/edge-monitor", *arguments],
        env={"PATH": "/usr/bin:/bin"}, cwd="/", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_installed_tree_is_what_the_unit_names(root: Path) -> None:
    """Program, settings, secrets' folder, unit and user are where the unit looks for them; secrets are root's alone."""
    for path in ("opt/edge-monitor/bin/edge-monitor", "etc/edge-monitor/edge-monitor.toml",
                 "etc/systemd/system/edge-monitor.service", "usr/lib/sysusers.d/edge-monitor.conf"):  # fmt: skip
        assert (root / path).is_file()
    assert (root / "usr/local/bin/edge-monitor").readlink() == Path("/opt/edge-monitor/bin/edge-monitor")
    assert (root / "etc/edge-monitor/credentials").stat().st_mode & 0o777 == 0o700
    assert 'runtime_dir = "/run/edge-monitor"' in (root / "etc/edge-monitor/edge-monitor.toml").read_text()


def test_the_installed_program_works(root: Path, tmp_path: Path) -> None:
    """It answers, likes the settings it came with, and runs a simulated machine to its end."""
    assert run(root, "--version").stdout.startswith("edge-monitor, version ")
    checked = run(root, "config", "check", "--config", str(root / "etc/edge-monitor/edge-monitor.toml"))
    assert checked.returncode == 0, checked.stderr
    config = tmp_path / "edge-monitor.toml"
    config.write_text(
        '[node]\nsite = "plant"\nname = "edge"\nstate_dir = "state"\n[[machine]]\nname = "pump"\n'
        'source = { kind = "simulator", seconds = 30, pace = "max" }\n'
    )
    done = run(root, "run", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "service.stopped" in done.stderr


def test_installing_again_keeps_the_settings(root: Path, wheels: Path) -> None:
    """What the administrator wrote stays."""
    settings = root / "etc/edge-monitor/edge-monitor.toml"
    settings.write_text(settings.read_text() + "# mine\n")
    done = install("--root", str(root), "--wheels", str(wheels))
    assert done.returncode == 0, done.stderr
    assert settings.read_text().endswith("# mine\n")


def test_a_dry_run_does_nothing(tmp_path: Path, wheels: Path) -> None:
    """It says what would be done."""
    done = install("--root", str(tmp_path), "--wheels", str(wheels), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would: " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_uninstalling_leaves_settings_and_state(root: Path) -> None:
    """They go only when that is asked for."""
    state = root / "var/lib/edge-monitor"
    state.mkdir(parents=True)
    assert install("--uninstall", "--root", str(root)).returncode == 0
    assert not (root / "opt/edge-monitor").exists()
    assert not (root / "etc/systemd/system/edge-monitor.service").exists()
    assert (root / "etc/edge-monitor/edge-monitor.toml").is_file()
    assert state.is_dir()
    assert install("--uninstall", "--purge", "--root", str(root)).returncode == 0
    assert not (root / "etc/edge-monitor").exists()
    assert not state.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--wheels", "/no/such"], "no such folder"), (["--frobnicate"], "unknown option"), (["--purge"], "--uninstall")],
)
def test_a_wrong_call_is_one_clear_line(arguments: list[str], says: str) -> None:
    """The last line names what is wrong; nothing is done."""
    done = install(*arguments)
    assert done.returncode == 1
    assert says in done.stderr.splitlines()[-1]
