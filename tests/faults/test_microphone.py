"""Never silently deaf: a microphone's fault shows within 10 s, and it is heard within 30 s of its return.

More faults of microphones are in the deaf drill, tests/faults/drill.py.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.broker import wait_until
from tests.faults.ear import MACHINE, RATTLING, Ear, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHOWN_S, RESUMED_S = 10.0, 30.0


@pytest.fixture(scope="module")
def sound_ear(tmp_path_factory: pytest.TempPathFactory, short_windows: Path) -> Iterator[Ear]:
    """Provide a node that knows its pump and waits for its microphone."""
    with listening(tmp_path_factory.mktemp("ear"), short_windows) as ear:
        yield ear


@pytest.fixture(name="ear")
def mended_ear(sound_ear: Ear) -> Iterator[Ear]:
    """Provide the node; its pump is mended after each test."""
    yield sound_ear
    sound_ear.hear(MACHINE)


@pytest.fixture(name="plugged")
def plugged_ear(ear: Ear) -> Ear:
    """Provide the node with its microphone there, whichever test comes first."""
    ear.microphones[MACHINE].plug()
    ear.wait_for("normal", RESUMED_S)
    return ear


def check(ear: Ear) -> None:
    """Assert that the pump, which rattles now, alarms within 30 s, and all else that must hold."""
    ear.plant.check(audio_fault=True, seconds=RESUMED_S)


def test_a_microphone_that_is_absent_at_boot_is_waited_for(ear: Ear) -> None:
    """The plant reads no-audio and why; once plugged in, its machine alarms within 30 s."""
    ear.wait_for("no-audio", SHOWN_S)
    ear.hear(MACHINE, sound=RATTLING)
    ear.microphones[MACHINE].plug()
    check(ear)


def another_index(ear: Ear) -> None:
    """Plug it in again behind another input."""
    ear.server.name_inputs("another", f"mic-{MACHINE}")
    ear.microphones[MACHINE].plug()


FAULTS: dict[str, tuple[Callable[[Ear], None], Callable[[Ear], None]]] = {
    "unplugged and plugged in again under another index": (
        lambda ear: ear.microphones[MACHINE].unplug(),
        another_index,
    ),
    "capture process hung": (lambda ear: ear.signal(MACHINE, signal.SIGSTOP), lambda _: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_deaf_microphone_shows_and_is_heard_again(fault: str, plugged: Ear) -> None:
    """Within 10 s the plant reads no-audio; within 30 s of its return an alarm is told, and the loss is counted."""
    ear = plugged
    dropped = ear.dropped_frames
    breaks, repairs = FAULTS[fault]
    breaks(ear)
    ear.wait_for("no-audio", SHOWN_S)
    ear.hear(MACHINE, sound=RATTLING)
    repairs(ear)
    check(ear)
    assert ear.dropped_frames > dropped


def test_gaps_that_starve_every_window_are_deafness(plugged: Ear) -> None:
    """Sound comes between the gaps, but never a whole window: no-audio all along, and heard again afterwards."""
    ear = plugged
    dropped = ear.dropped_frames
    ear.hear(MACHINE, sound=RATTLING)
    ear.signal(MACHINE, signal.SIGKILL)
    ear.wait_for("no-audio", SHOWN_S)
    for _ in range(5):
        wait_until(lambda: ear.children, SHOWN_S, "a capture process")
        time.sleep(0.8)  # of sound at the most
        assert ear.told()["state"] == "no-audio"
        ear.signal(MACHINE, signal.SIGKILL)
    wait_until(lambda: ear.dropped_frames > dropped, SHOWN_S, "the gaps in the figures")  # with the sound behind them
    check(ear)


def test_a_gain_changed_by_the_operating_system_shows(plugged: Ear) -> None:
    """A mixer turned down by 20 dB is sensor-changed within three windows; turned back, the machine alarms."""
    ear = plugged
    ear.microphones[MACHINE].set_gain(-20.0)
    ear.wait_for("sensor-changed", SHOWN_S)
    assert "in all bands alike: the gain has changed" in ear.told()["text"]
    ear.hear(MACHINE, sound=RATTLING)
    ear.microphones[MACHINE].set_gain(0.0)
    check(ear)
