"""The installer, in a scratch root and without a network."""

from __future__ import annotations

import os
import shutil
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


def install(*arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """Run the installer as a hardened root would, where the network's packages cannot be found."""
    return subprocess.run(
        [REPOSITORY / "deploy/install.sh", *arguments],
        env={**os.environ, "PATH": path, "PYTHON": sys.executable, "PIP_INDEX_URL": "http://127.0.0.1:9/",
             "PYTHONPATH": ""},
        capture_output=True, text=True, check=False, timeout=300, umask=0o077,
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scratch root with the service installed, after an installation that was interrupted."""
    folder = tmp_path_factory.mktemp("root")
    half = folder / "opt/edge-monitor"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", half], check=True, timeout=100)
    (half / "left-over").touch()
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


def test_a_half_made_environment_is_made_anew(root: Path) -> None:
    """An environment without a pip that works, after an interruption or an upgrade of Python, is no obstacle."""
    assert not (root / "opt/edge-monitor/left-over").exists()
    assert run(root, "--version").returncode == 0


def mode(path: Path) -> int:
    """Return a file's permission bits."""
    return path.stat().st_mode & 0o777


def test_under_a_strict_umask_the_services_user_can_run_the_program(root: Path) -> None:
    """Everybody reads the program and the unit; the settings stay closed to others."""
    for path in ("opt/edge-monitor", "opt/edge-monitor/bin", "opt/edge-monitor/bin/edge-monitor", "usr/local/bin"):
        assert mode(root / path) == 0o755, path
    for path in ("etc/systemd/system/edge-monitor.service", "usr/lib/sysusers.d/edge-monitor.conf",
                 "usr/lib/tmpfiles.d/edge-monitor.conf", "opt/edge-monitor/share/README.md"):  # fmt: skip
        assert mode(root / path) == 0o644, path
    assert [path for path in (root / "opt").rglob("*") if not path.stat().st_mode & 0o004] == []
    assert mode(root / "etc/edge-monitor") == 0o750
    assert mode(root / "etc/edge-monitor/edge-monitor.toml") == 0o640


def test_an_image_gets_its_user_and_the_settings_group_when_it_boots(root: Path) -> None:
    """What systemd does then with the installed files: the service's user can read the settings and hear sound."""
    if shutil.which("systemd-sysusers") is None or os.geteuid() != 0:
        pytest.skip("needs root, and systemd-sysusers (Debian package systemd)")
    subprocess.run(["systemd-sysusers", f"--root={root}", "edge-monitor.conf"], check=True, timeout=30)
    subprocess.run(["systemd-tmpfiles", f"--root={root}", "--create", "edge-monitor.conf"], check=True, timeout=30)
    groups = {line.split(":")[0]: line.split(":")[2:] for line in (root / "etc/group").read_text().splitlines()}
    assert groups["audio"][1] == "edge-monitor"
    for path in ("etc/edge-monitor", "etc/edge-monitor/edge-monitor.toml"):
        about = (root / path).stat()
        assert (about.st_uid, str(about.st_gid)) == (0, groups["edge-monitor"][0])


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


def test_without_a_scratch_root_users_and_services_are_seen_to_in_order(tmp_path: Path, wheels: Path) -> None:
    """The user before what belongs to it, the unit last, and a running service is restarted; told by a dry run."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    systemctl.chmod(0o755)
    done = install("--wheels", str(wheels), "--dry-run", path=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    told = [line.removeprefix("would: ") for line in done.stdout.splitlines() if "system" in line.split()[1]]
    assert told == [
        "systemd-sysusers /usr/lib/sysusers.d/edge-monitor.conf",
        "systemd-tmpfiles --create /usr/lib/tmpfiles.d/edge-monitor.conf",
        "systemctl daemon-reload",
        "systemctl enable edge-monitor.service",
        "systemctl restart edge-monitor.service",
    ]
    assert (tmp_path / "asked").read_text() == "is-active --quiet edge-monitor.service\n"


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
