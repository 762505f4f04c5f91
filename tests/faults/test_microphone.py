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

from tests.broker import Broker, Subscriber, wait_until
from tests.encode.foreign import ForeignBundle
from tests.pipe_microphone import PipeMicrophone
from tests.service.product import Product
from tests.service.sounds import pump, write_clips
from tests.sound_server import SoundServer, sound_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.product import Daemon

SHOWN_S, RESUMED_S = 10.0, 30.0
TOPIC = "edge-monitor/v1/plant/edge/pump/state"
HEARD = {"normal", "alarm"}  # scored either way: the foreign bundle's opinion does not matter here
# Two seconds a window, so that a minute is enough for these tests.
SHORT = ("sample_rate_hz = 8000\nwindow_s = 1.5", "sample_rate_hz = 6000\nwindow_s = 2.0")


@dataclass
class Ear:
    """A running daemon that listens to the input `mic`, which is not there at boot."""

    server: SoundServer
    microphone: PipeMicrophone
    product: Product
    daemon: Daemon
    scada: Subscriber

    @property
    def told(self) -> dict[str, Any]:
        """Return the newest state that the plant was told."""
        messages = self.scada.on(TOPIC)
        told: dict[str, Any] = json.loads(messages[-1].payload) if messages else {"state": "none"}
        return told

    @property
    def dropped_frames(self) -> int:
        """Return how many frames are counted as lost."""
        dropped: int = self.product.answer("status")["dropped_frames"]
        return dropped

    @property
    def child(self) -> int:
        """Return the process id of the capture child."""
        tasks = Path(f"/proc/{self.daemon.process.pid}/task").glob("*/children")
        [pid] = [int(pid) for task in tasks for pid in task.read_text("ascii").split()]
        return pid

    def wait_for(self, states: set[str], seconds: float) -> None:
        """Wait until the plant is told one of these states."""
        wait_until(lambda: self.told["state"] in states, seconds, f"{sorted(states)}, not {self.told}")


@pytest.fixture(scope="module", name="ear")
def ear_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ear]:
    """Provide a node that knows its pump and waits for its microphone."""
    folder = tmp_path_factory.mktemp("ear")
    bundle = ForeignBundle(folder / "bundle").write(old=SHORT[0], new=SHORT[1])
    with sound_server() as server, Broker(folder) as broker, Subscriber(broker.port) as scada:
        server.name_inputs("mic")
        pipe = server.folder / "mic"
        product = Product(
            folder,
            '{ kind = "microphone", device = "mic", rate_hz = 16000 }',
            mqtt_port=broker.port,
            bundle=str(bundle),
            environment=server.environment,
            extra='[machine.running]\ngate = "off"',
        )
        done = product.command("enroll", *map(str, write_clips(folder / "healthy", "healthy", pump(60))))
        assert done.returncode == 0, done.stderr
        with PipeMicrophone(server, pipe, "mic", pump(20, take=1)) as microphone, product.daemon() as daemon:
            yield Ear(server, microphone, product, daemon, scada)
            assert daemon.stop() == 0


def test_a_microphone_that_is_absent_at_boot_is_waited_for(ear: Ear) -> None:
    """The plant reads no-audio and why; once plugged in, the machine is scored."""
    ear.wait_for({"no-audio"}, SHOWN_S)
    ear.microphone.plug()
    ear.wait_for(HEARD, RESUMED_S)


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
    "capture process hung": (lambda ear: os.kill(ear.child, signal.SIGSTOP), lambda _: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_deaf_microphone_shows_and_is_heard_again(fault: str, ear: Ear) -> None:
    """Within 10 s the plant reads no-audio; within 30 s of its return it is scored, and what was lost is counted."""
    ear.wait_for(HEARD, RESUMED_S)
    dropped = ear.dropped_frames
    breaks, repairs = FAULTS[fault]
    breaks(ear)
    ear.wait_for({"no-audio"}, SHOWN_S)
    repairs(ear)
    ear.wait_for(HEARD, RESUMED_S)
    assert ear.dropped_frames > dropped
    assert ear.daemon.process.poll() is None


def test_gaps_that_starve_every_window_are_deafness(ear: Ear) -> None:
    """Sound comes between the gaps, but never a whole window: no-audio all along, and heard again afterwards."""
    ear.wait_for(HEARD, RESUMED_S)
    dropped = ear.dropped_frames
    os.kill(ear.child, signal.SIGKILL)
    ear.wait_for({"no-audio"}, SHOWN_S)
    for _ in range(5):
        time.sleep(1.3)  # it comes back after half a second
        assert ear.told["state"] == "no-audio"
        os.kill(ear.child, signal.SIGKILL)
    assert ear.dropped_frames > dropped
    ear.wait_for(HEARD, RESUMED_S)


def test_a_gain_changed_by_the_operating_system_shows(ear: Ear) -> None:
    """A mixer turned down by 20 dB is sensor-changed within three windows; turned back, the machine is scored."""
    ear.wait_for(HEARD, RESUMED_S)
    ear.microphone.set_gain(-20.0)
    ear.wait_for({"sensor-changed"}, SHOWN_S)
    assert "in all bands alike: the gain has changed" in ear.told["text"]
    ear.microphone.set_gain(0.0)
    ear.wait_for(HEARD, RESUMED_S)
