"""The deaf drill: what makes a monitor deaf is told, by the state and by `doctor`, and is over when it is mended."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.broker import wait_until
from tests.faults.drill import COVERED, WAYS, Way
from tests.faults.ear import BACK_S, MACHINE, RATTLING, Ear, listening, make_state
from tests.sharing import made_once

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBE_S = 30.0
_NOT_YET = pytest.mark.xfail(
    find_spec("edge_monitor.capture.standstill") is None, reason="nothing knows a covered microphone yet"
)


@pytest.fixture(scope="module")
def ear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ear]:
    """Provide a node that knows its pump and hears it."""
    made = made_once(tmp_path_factory, "short-windows", make_state)
    with listening(tmp_path_factory.mktemp("drill"), made) as ear:
        ear.begin()
        yield ear


@pytest.mark.parametrize(
    "way", [pytest.param(way, id=way.name, marks=[_NOT_YET] if way.name == COVERED else []) for way in WAYS]
)
def test_the_deaf_drill(way: Way, ear: Ear) -> None:
    """State, text and doctor's exit code are told in time; the machine is `normal` when it is mended."""
    began_s = time.monotonic()
    way.deafen(ear, MACHINE)
    try:
        wait_until(lambda: seen(ear, way), way.limit_s, f"{way.state}: {way.text}")
        left_s = 60.0 + began_s - time.monotonic()
        wait_until(lambda: ear.plant.product.command("doctor").returncode == way.doctor, left_s, "doctor's exit code")
        if way.ends:
            left_s = way.limit_s + began_s - time.monotonic()
            wait_until(lambda: ear.ended() == 1, left_s, "the end of the daemon")
        if way.state == "normal" and way.doctor == 0:
            ear.hear(MACHINE, sound=RATTLING)
            ear.wait_for("alarm", _PROBE_S)
    finally:
        way.mend(ear, MACHINE)
        if ear.ended() is not None:
            ear.plant.start()
        ear.hear(MACHINE)
        ear.wait_for("normal", BACK_S)


def test_a_machine_that_fails_after_all_of_it_is_heard(ear: Ear) -> None:
    """An alarm is told within 30 s, everything that was promised meanwhile has arrived, the database is whole."""
    ear.hear(MACHINE, sound=RATTLING)
    ear.plant.check(audio_fault=True)


def seen(ear: Ear, way: Way) -> bool:
    """Return whether the plant is told what it is to be told."""
    told = ear.told()
    return told["state"] == way.state and way.text in told["text"]
