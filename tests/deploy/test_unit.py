"""The systemd unit, as systemd's own tools see it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy/systemd/edge-monitor.service"


@pytest.fixture
def analyze() -> str:
    """Return systemd's tool for units."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("needs systemd-analyze (Debian package systemd)")
    return tool


def test_systemd_finds_no_mistake_in_the_unit(analyze: str, tmp_path: Path) -> None:
    """Every directive is known, and one that is not would be told; a stand-in takes the program's place."""
    unit = tmp_path / "edge-monitor.service"

    def complaints(text: str) -> str:
        unit.write_text(text.replace("/opt/edge-monitor/bin/edge-monitor", "/bin/true"))
        done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
        return "\n".join(line for line in done.stderr.splitlines() if "edge-monitor" in line)

    assert complaints(UNIT.read_text()) == ""
    misspelt = complaints(UNIT.read_text().replace("Restart=always", "Restrat=always").replace("=notify", "=notfy"))
    assert "Restrat" in misspelt
    assert "notfy" in misspelt


def test_the_unit_is_hardened(analyze: str) -> None:
    """Systemd's own measure of exposure is at most 2.0 (unhardened services have 9.6)."""
    done = subprocess.run(
        [analyze, "security", "--offline=true", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    exposure = re.search(r"Overall exposure level for edge-monitor.service: ([\d.]+)", done.stdout)
    assert exposure is not None, done.stderr
    assert float(exposure[1]) <= 2.0


def test_the_unit_leaves_what_the_daemon_needs() -> None:
    """Callbacks of the audio library, sound cards, both IP families, a restart without end."""
    unit = UNIT.read_text()
    assert not re.search("^MemoryDenyWriteExecute=", unit, re.MULTILINE)
    for line in (
        "Type=notify",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "DeviceAllow=char-alsa rw",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ):
        assert f"\n{line}\n" in unit
