"""`install.sh --root`: an image that runs when it boots, made with the image's own Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.broker import wait_until
from tests.systemd.debian import booted

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first one makes the system

REPOSITORY = Path(__file__).parents[2]


def install(image: Path, *arguments: str, python: str = "python3") -> subprocess.CompletedProcess[str]:
    """Run the installer here, as a hardened root would, on an image."""
    return subprocess.run(
        [REPOSITORY / "deploy/install.sh", "--root", str(image), *arguments],
        env={**os.environ, "PYTHON": python},
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def files(image: Path) -> set[str]:
    """Return the paths of all that lies in the image."""
    return {str(Path(at, name)) for at, folders, names in os.walk(image) for name in (*folders, *names)}


def test_an_image_without_a_python_is_refused_before_anything_changes(image: Path) -> None:
    """One line, and the image is as it was."""
    before = files(image)
    for dry in ((), ("--dry-run",)):
        done = install(image, *dry, python="python9")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"install: no python9 in {image}; install Python 3.11 or newer there, or name one with PYTHON=\n"
        )
    assert files(image) == before


def test_the_image_boots_and_runs(image: Path) -> None:
    """The service is up after the boot, with the settings it came with, and no file in it knows where it was made."""
    wheels = image / "wheels"
    done = install(image, "--wheels", str(wheels))
    assert done.returncode == 0, done.stderr
    assert f"No systemd runs in {image}: the service starts when one boots" in done.stdout
    places = [image / path for path in ("opt", "etc", "usr/local", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d")]
    for path in (str(image), str(REPOSITORY)):
        found = subprocess.run(["grep", "-rlF", path, *places], capture_output=True, text=True, check=False)
        assert found.stdout == ""
    with booted(image) as debian:
        debian.do("systemctl", "is-active", "edge-monitor")
        wait_until(
            lambda: debian.machine()["state"] == "no-audio", 30.0, "the machine of the example, without its card"
        )
        assert "edge-monitor" in debian.do("id", "--name", "--groups", "edge-monitor")
        assert "audio" in debian.do("id", "--name", "--groups", "edge-monitor")


def test_it_is_taken_out_of_the_image(image: Path) -> None:
    """Purged, nothing in it has the product's name but lines of the accounts."""
    done = install(image, "--uninstall", "--purge")
    assert done.returncode == 0, done.stderr
    assert f"no systemd runs in {image}: only files were removed" in done.stdout
    places = [str(image / top) for top in ("etc", "opt", "usr", "var/lib", "root")]
    assert [
        path for path in files(image) if "edge-monitor" in path[len(str(image)) :] and path.startswith(tuple(places))
    ] == []
