"""`enroll` says how faint a fault is heard, and keeps it with the generation."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
import soundfile

from edge_monitor.capture.simulator import RATE_HZ
from edge_monitor.capture.simulator_faults import ADDED_FAULTS
from edge_monitor.console import Progress
from tests.broker import wait_until
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from pathlib import Path

LIVE = '{ kind = "simulator", machine = "pump", pace = 20 }'


@pytest.fixture(name="product")
def product_fixture(tmp_path: Path) -> Product:
    """Return a node that knows nothing yet, with twelve healthy clips."""
    write_clips(tmp_path / "clips", "healthy", pump(120))
    return Product(tmp_path, LIVE, audibility=True)


def test_files_are_measured_once_and_again_after_another_threshold(product: Product) -> None:
    """Its line stands before the verdict; a threshold found without sound has none until the files are heard again."""
    clips = str(product.folder / "clips")
    first = product.command("enroll", clips)
    heard, verdict = first.stdout.splitlines()[1:]
    assert heard.startswith("A bearing fault is heard from ")
    assert heard.endswith("heard.")
    assert verdict.startswith(("good: ", "thin: "))
    assert "Mixing in faults: 100 %" in first.stderr.splitlines()
    again = product.command("enroll", clips)
    assert again.stdout.splitlines()[1:] == [heard, verdict]
    assert "Mixing in faults" not in again.stderr
    assert heard in product.command("doctor").stdout
    answer = product.answer("enroll", clips)
    assert (answer["audible"], answer["audibility"]["windows"]) == (heard, 20)
    assert [each["fault"] for each in answer["audibility"]["faults"]] == list(ADDED_FAULTS)
    assert product.answer("calibrate", "--false-alarms-per-day", "1")["generation"] == 2
    kept = [each["audibility"] for each in product.answer("generations list")]
    assert kept == [answer["audibility"], None]
    after = product.answer("enroll", clips)
    assert (after["generation"], len(after["audibility"]["faults"])) == (2, len(ADDED_FAULTS))
    for before, now in zip(answer["audibility"]["faults"], after["audibility"]["faults"], strict=True):
        assert now["minute_db"] <= before["minute_db"]  # of more false alarms a lower threshold, of that fainter faults


def test_it_is_left_out_if_asked(product: Product) -> None:
    """`--no-audibility` takes no longer than to enrol."""
    done = product.command("enroll", "--no-audibility", str(product.folder / "clips"))
    assert len(done.stdout.splitlines()) == 2
    assert "Mixing in faults" not in done.stderr
    assert product.answer("generations list")[0]["audibility"] is None


def test_of_too_little_sound_it_says_that_nothing_is_known(product: Product) -> None:
    """One recording of 50 s is two blocks: without one of them there is nothing to score by; it is enrolled anyway."""
    soundfile.write(product.folder / "short.wav", pump(50), RATE_HZ)
    done = product.command("enroll", str(product.folder / "short.wav"))
    assert done.returncode == 0
    why = "how faint a fault is heard is not known: too little normal sound"
    assert f"edge-monitor: {why}" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_live_sound_is_measured_while_the_machine_is_heard(product: Product) -> None:
    """It has left `learning` when faults are mixed in; interrupted, its generation stays, and nothing is half done."""
    with product.daemon() as daemon:
        enrolment = subprocess.Popen(
            product.argv("enroll", "--live", "3", "--progress-json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert enrolment.stderr
        for line in enrolment.stderr:
            told = Progress.from_json(line)
            if told and told.label == "Mixing in faults":
                break
        machine = product.status()["machines"][0]
        assert (machine["state"], machine["audibility"]) == ("normal", None)
        enrolment.send_signal(signal.SIGINT)
        assert "generation 1 is active; how faint a fault it hears is not known" in enrolment.communicate(timeout=20)[1]
        done = json.loads(product.command("enroll", "--live", "3", "--json").stdout)
        assert (done["generation"], len(done["audibility"]["faults"])) == (2, len(ADDED_FAULTS))
        wait_until(lambda: product.status()["machines"][0]["audibility"] == done["audibility"], 10.0, "its status")
        assert not [each for each in daemon.events() if each["level"] == "error"]
        assert daemon.stop() == 0
