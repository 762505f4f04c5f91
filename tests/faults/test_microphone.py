"""Never silently deaf: a microphone's fault shows within 10 s, and it is heard within 30 s of its return."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.broker import wait_until
from tests.encode.foreign import ForeignBundle, thirds_model
from tests.faults.oracle import BASE, Plant
from tests.pipe_microphone import PipeMicrophone
from tests.product import Product
from tests.sound_server import SoundServer, sound_server
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOWN_S, RESUMED_S = 10.0, 30.0
TOPIC = f"{BASE}/pump/state"
HEALTHY, RATTLING = pump(20, take=1), pump(20, take=2, fault="rattle", fault_db=12.0)
# Two seconds a window, so that a minute is enough for these tests; its vector is the levels of its thirds. The healthy
# pump's normals lie within 0.1 of each other, one turned down by 20 dB 1.6 away, the rattling one at least 2.2.
RATE = ("sample_rate_hz = 8000\nwindow_s = 1.5", "sample_rate_hz = 6000\nwindow_s = 2.0")
ALARM = "[machine.alarm]\nthreshold = 1.9\nthreshold_generation = 1\nraise = [2, 2]\noff_delay_s = 2"


@dataclass
class Ear:
    """A plant whose daemon listens to the input `mic`, which is not there at boot."""

    server: SoundServer
    microphone: PipeMicrophone
    plant: Plant

    @property
    def told(self) -> dict[str, Any]:
        """Return the newest state that the plant was told."""
        messages = self.plant.scada.on(TOPIC)
        told: dict[str, Any] = json.loads(messages[-1].payload) if messages else {"state": "none"}
        return told

    @property
    def dropped_frames(self) -> int:
        """Return how many frames are counted as lost."""
        dropped: int = self.plant.product.answer("status")["dropped_frames"]
        return dropped

    @property
    def children(self) -> list[int]:
        """Return the process id of the capture child; none while it is begun anew."""
        assert self.plant.daemon is not None
        tasks = Path(f"/proc/{self.plant.daemon.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text("ascii").split()]

    def signal(self, number: int) -> None:
        """Send a signal to the capture child, once there is one."""
        wait_until(lambda: self.children, SHOWN_S, "a capture process")
        os.kill(self.children[0], number)

    def wait_for(self, state: str, seconds: float) -> None:
        """Wait until the plant is told this state."""
        wait_until(lambda: self.told["state"] == state, seconds, f"{state}, not {self.told}")

    def check(self) -> None:
        """Assert that the pump, which rattles now, alarms within 30 s, and all else that must hold."""
        self.plant.check(audio_fault=True, seconds=RESUMED_S)


@pytest.fixture(scope="module")
def sound_ear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ear]:
    """Provide a node that knows its pump and waits for its microphone."""
    folder = tmp_path_factory.mktemp("ear")
    bundle = ForeignBundle(folder / "bundle").write(model=thirds_model(reduce="ReduceL2"), old=RATE[0], new=RATE[1])
    manifest = bundle / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('normalize = "unit"', 'normalize = "none"'))
    source = '{ kind = "microphone", device = "mic", rate_hz = 16000 }'
    (folder / "enrolled").mkdir()
    enrolled = Product(folder / "enrolled", source, bundle=str(bundle), extra='[machine.running]\ngate = "off"')
    done = enrolled.command("enroll", *map(str, write_clips(folder / "healthy", "healthy", pump(60))))
    assert done.returncode == 0, done.stderr
    with sound_server() as server:
        server.name_inputs("mic")
        settings = f'{ALARM}\n[machine.running]\ngate = "off"'
        plant = Plant(
            folder, enrolled.state, folder, source=source, extra=settings, environment=dict(server.environment)
        )
        plant.product.bundle = str(bundle)
        with PipeMicrophone(server, server.folder / "mic", "mic", HEALTHY) as microphone, plant:
            yield Ear(server, microphone, plant)
            plant.stop()


@pytest.fixture(name="ear")
def mended_ear(sound_ear: Ear) -> Iterator[Ear]:
    """Provide the node; its pump is mended after each test."""
    yield sound_ear
    sound_ear.microphone.play(HEALTHY)


@pytest.fixture(name="plugged")
def plugged_ear(ear: Ear) -> Ear:
    """Provide the node with its microphone there, whichever test comes first."""
    if not ear.microphone.plugged:
        ear.microphone.plug()
    return ear


def test_a_microphone_that_is_absent_at_boot_is_waited_for(ear: Ear) -> None:
    """The plant reads no-audio and why; once plugged in, its machine alarms within 30 s."""
    ear.wait_for("no-audio", SHOWN_S)
    ear.microphone.play(RATTLING)
    ear.microphone.plug()
    ear.check()


def another_index(ear: Ear) -> None:
    """Plug it in again behind another input."""
    ear.server.name_inputs("another", "mic")
    ear.microphone.plug()


def killed(ear: Ear) -> None:
    """SIGKILL the sound server."""
    ear.server.kill()


def restarted(ear: Ear) -> None:
    """Start it again, with the microphone."""
    ear.server.start()
    ear.microphone.plug()


FAULTS: dict[str, tuple[Callable[[Ear], None], Callable[[Ear], None]]] = {
    "unplugged and plugged in again under another index": (lambda ear: ear.microphone.unplug(), another_index),
    "callbacks that stop without an error": (
        lambda ear: setattr(ear.microphone, "stopped", True),
        lambda ear: setattr(ear.microphone, "stopped", False),
    ),
    "all samples zero": (
        lambda ear: setattr(ear.microphone, "silent", True),
        lambda ear: setattr(ear.microphone, "silent", False),
    ),
    "sound server killed": (killed, restarted),
    "sound server hung": (
        lambda ear: ear.server.process.send_signal(signal.SIGSTOP),
        lambda ear: ear.server.process.send_signal(signal.SIGCONT),
    ),
    "capture process hung": (lambda ear: ear.signal(signal.SIGSTOP), lambda _: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_deaf_microphone_shows_and_is_heard_again(fault: str, plugged: Ear) -> None:
    """Within 10 s the plant reads no-audio; within 30 s of its return an alarm is told, and the loss is counted."""
    ear = plugged
    ear.wait_for("normal", RESUMED_S)
    dropped = ear.dropped_frames
    breaks, repairs = FAULTS[fault]
    breaks(ear)
    ear.wait_for("no-audio", SHOWN_S)
    ear.microphone.play(RATTLING)
    repairs(ear)
    ear.check()
    assert ear.dropped_frames > dropped


def test_gaps_that_starve_every_window_are_deafness(plugged: Ear) -> None:
    """Sound comes between the gaps, but never a whole window: no-audio all along, and heard again afterwards."""
    ear = plugged
    ear.wait_for("normal", RESUMED_S)
    dropped = ear.dropped_frames
    ear.microphone.play(RATTLING)
    ear.signal(signal.SIGKILL)
    ear.wait_for("no-audio", SHOWN_S)
    for _ in range(5):
        wait_until(lambda: ear.children, SHOWN_S, "a capture process")
        time.sleep(0.8)  # of sound at the most
        assert ear.told["state"] == "no-audio"
        ear.signal(signal.SIGKILL)
    wait_until(lambda: ear.dropped_frames > dropped, SHOWN_S, "the gaps in the figures")  # with the sound behind them
    ear.check()


def test_a_gain_changed_by_the_operating_system_shows(plugged: Ear) -> None:
    """A mixer turned down by 20 dB is sensor-changed within three windows; turned back, the machine alarms."""
    ear = plugged
    ear.wait_for("normal", RESUMED_S)
    ear.microphone.set_gain(-20.0)
    ear.wait_for("sensor-changed", SHOWN_S)
    assert "in all bands alike: the gain has changed" in ear.told["text"]
    ear.microphone.play(RATTLING)
    ear.microphone.set_gain(0.0)
    ear.check()
