"""The suite as it is called: real parts, a part that cannot run here, one that overruns, one that breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench import __main__ as suite
from bench.part import Part, run
from bench.rows import Row
from tests.broker import wait_until

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).parents[2]
NOWHERE = Path("/nonexistent/python")


def bench(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the suite as `make bench` does."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)} | ({} if path is None else {"PATH": path})
    command = [sys.executable, "-m", "bench", "--export-python", str(NOWHERE), *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_real_parts_make_one_table_and_a_kept_result(tmp_path: Path) -> None:
    """Measured parts have ratios, a part of the export environment says what it needs, and all of it is kept."""
    done = bench("--only", "install_size", "resampling", "log_mel", "--seconds", "60", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert lines[0] == "| measured | here | beside | times cheaper (95 % interval; pairs) | last time |"
    assert len([line for line in done.stdout.splitlines() if line.startswith("|---")]) == 1
    absent = "not measured: needs the export environment (`make test-export` makes it)"
    assert f"| spectral encoder beside librosa | {absent} | | |  |" in lines
    (kept,) = tmp_path.glob("*.json")
    rows = {row["what"]: row for row in json.loads(kept.read_text())["rows"]}
    assert 50.0 < rows["install size"]["value"] < 500.0
    ratio = rows["resampling 10 s, 48 to 16 kHz, soxr HQ"]["ratio"]
    assert 0.0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert ratio["pairs"] >= 6
    assert rows["spectral encoder beside librosa"]["missing"].startswith("needs the export environment")
    again = bench("--only", "install_size", "--results", str(tmp_path))
    assert f"| {rows['install size']['value']:.0f} MB |" in again.stdout.splitlines()[2]
    assert "Last time: " in again.stdout


def test_a_box_without_a_sound_server_says_so(tmp_path: Path) -> None:
    """PATH has none of its commands: the row says which, the exit code stays 0."""
    done = bench("--only", "daemon", "--results", str(tmp_path), path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "| memory of the daemon | not measured: needs " in done.stdout
    assert "pulseaudio, paplay, pactl" in done.stdout


def test_a_part_that_overruns_is_ended_with_what_it_had_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its limit neither it nor its child runs, and its row says so."""
    note = tmp_path / "pid"
    monkeypatch.setenv("SLEEPER", str(note))
    begun_s = time.monotonic()
    rows, broke = run(Part("sleeper", "tests.bench.sleeper", 1.0, 1.0), 1.0, 5.0, NOWHERE)
    assert time.monotonic() - begun_s < 15.0
    assert (rows, broke) == ([Row("sleeper", missing="took more than 5 s")], False)
    child = int(note.read_text())
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_the_suite_keeps_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four parts of a minute each in four seconds: each is ended when its share of them is over."""
    monkeypatch.setenv("SLEEPER", str(tmp_path / "pid"))
    begun_s = time.monotonic()
    rows, broken = suite.measure((Part("sleeper", "tests.bench.sleeper", 60.0, 1.0),) * 4, 4.0, NOWHERE)
    assert time.monotonic() - begun_s < 15.0
    assert [row.missing for row in rows] == ["took more than 1 s"] * 4
    assert not broken


def test_the_parts_ask_for_less_than_ten_minutes() -> None:
    """What is left is for a box that is not quiet."""
    assert sum(part.whole_s for part in suite.PARTS) <= 0.9 * suite.MOST_S


def test_a_part_that_breaks_is_told_apart_from_one_that_cannot_run() -> None:
    """Its last line of complaint is in the row, and the suite's exit code will be 1."""
    rows, broke = run(Part("nothing", "bench.no_such_part", 1.0, 1.0), 1.0, 30.0, NOWHERE)
    assert broke
    assert rows == [Row("nothing", missing="failed: ModuleNotFoundError: No module named 'bench.no_such_part'")]
