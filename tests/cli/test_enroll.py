"""`enroll` tells its progress where a person reads it, and what it leaves out on lines of their own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from edge_monitor.capture.resampling import resample
from edge_monitor.console import Progress
from tests.product import Product
from tests.sounds import pump, write_clips
from tests.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="product")
def product_fixture(tmp_path: Path) -> Product:
    """Return a node that knows nothing yet; `clips` beside it has nine healthy clips, and a tenth that is no sound."""
    write_clips(tmp_path / "clips", "healthy", pump(90))
    (tmp_path / "clips/healthy_004b.wav").write_bytes(b"RIFF")
    return Product(tmp_path, '{ kind = "simulator", machine = "pump", pace = "max", seconds = 80 }')


def test_on_a_terminal_what_is_left_out_stands_above_the_bar(product: Product) -> None:
    """The bar is whole and below; nothing shares its line."""
    with Terminal(400) as terminal:
        enrolment = terminal.run(
            product.argv("enroll", str(product.folder / "clips")), os.environ | {"TERM": "vt100", "LANG": "C"}
        )
        terminal.read_until(lambda: enrolment.poll() is not None, 60.0)
        terminal.read()
    left_out, bar, built, verdict = terminal.lines[:4]
    assert left_out.startswith("edge-monitor: ")
    assert "healthy_004b.wav: " in left_out
    assert bar == "Enrolling  [########################################]  100 %"
    assert built == "pump: 1.5 min of normal sound from 9 recordings; generation 1 is active."
    assert verdict == "thin: enrol 2 more minutes of healthy sound, best on another day"
    assert enrolment.returncode == 1  # one file failed


def test_without_a_terminal_progress_is_plain_lines(product: Product) -> None:
    """A log of `enroll` has no control character; the answer stays alone on standard output."""
    done = product.command("enroll", str(product.folder / "clips"))
    lines = [line for line in done.stderr.splitlines() if "healthy_004b" not in line]
    assert lines == [
        "Enrolling: 20 %",
        "Enrolling: 40 %",
        "Enrolling: 60 %",
        "Enrolling: 80 %",
        "Enrolling: 100 %",
        "edge-monitor: 1 of the files could not be enrolled, see above",
    ]
    assert "\r" not in done.stderr + done.stdout
    assert "\x1b" not in done.stderr + done.stdout
    assert done.stdout.splitlines() == [
        "pump: 1.5 min of normal sound from 9 recordings; generation 1 is active.",
        "thin: enrol 2 more minutes of healthy sound, best on another day",
    ]


def test_the_figures_behind_the_verdict_are_told_if_asked_for(product: Product) -> None:
    """`--verbose` has the threshold and what it promises before the verdict; `--json` has the verdict in parts."""
    (product.folder / "clips/healthy_004b.wav").unlink()
    first = product.command("enroll", str(product.folder / "clips"), "--verbose").stdout.splitlines()
    assert "9 independent blocks (thin below 12), 1.5 min of sound" in first[1]
    words = [line.partition(" ")[0] for line in first]
    assert words == ["pump:", "low", "More", "Threshold", "Expected", "Low", "Below", "thin:"]
    again = product.command("enroll", str(product.folder / "clips")).stdout.splitlines()
    assert again == [
        "pump: 1.5 min of normal sound from 9 recordings; nothing new, generation 1.",
        "thin: enrol 2 more minutes of healthy sound, best on another day",
    ]
    answer = product.answer("enroll", str(product.folder / "clips"))
    assert (answer["recordings"], answer["seconds"], answer["added"]) == (9, 90.0, 0)
    assert answer["verdict"]["level"] == "thin"
    assert answer["verdict"]["next_step"] == "enrol 2 more minutes of healthy sound, best on another day"


def test_programs_get_progress_as_json_if_they_ask(product: Product) -> None:
    """`--progress-json` tells each step of live enrolment on standard error, `--json` alone tells none."""
    done = product.command("enroll", "--live", "1", "--progress-json", "--json")
    assert json.loads(done.stdout)["active"], done.stderr
    told = [Progress.from_json(line) for line in done.stderr.splitlines()]
    assert told[0] == Progress("Listening", 0.0, 60.0)
    assert told[-1] == Progress("Listening", 60.0, 60.0, "enrolled")
    assert product.command("enroll", "--live", "1", "--json").stderr == ""


def test_recordings_of_another_rate_are_left_out_in_one_line(product: Product) -> None:
    """Two of twelve have 8 kHz: what is learnt is what the ten others are; later they are refused, if they are more."""
    folder = product.folder / "clips"
    write_clips(folder, "narrow", resample(pump(20, take=1), 16_000, 8000), 8000)
    done = product.command("enroll", str(folder))
    told = "edge-monitor: 2 of 12 recordings have 8 kHz, the others 16 kHz: left out, since one machine is heard at one"
    assert told + " sample rate" in done.stderr.splitlines()
    assert "edge-monitor: 3 of the files could not be enrolled, see above" in done.stderr.splitlines()
    assert done.returncode == 1
    assert done.stdout.startswith("pump: 1.5 min of normal sound from 9 recordings; generation 1 is active.")
    scored = product.command("score", str(folder / "narrow_000.wav"))
    different = "reaches 3.6 kHz, what is enrolled 7.1 kHz: another sample rate"
    assert scored.stderr == f"edge-monitor: {folder / 'narrow_000.wav'}: cannot be scored: {different}\n"
    assert (scored.returncode, scored.stdout) == (1, "")
    for number in range(3, 11):
        (folder / f"healthy_{number:03d}.wav").unlink(missing_ok=True)
    write_clips(folder, "narrow", resample(pump(50, take=1), 16_000, 8000), 8000)
    write_clips(folder, "other", pump(10, take=2))
    refused = product.command("enroll", str(folder))
    told = f"edge-monitor: pump: narrow_000.wav {different}, not added"
    assert any(line.startswith(told) for line in refused.stderr.splitlines())
    assert "edge-monitor: 6 of the files could not be enrolled, see above" in refused.stderr.splitlines()
    assert refused.returncode == 1
    assert refused.stdout.startswith("pump: 1.7 min of normal sound from 10 recordings; generation 2 is active.")
