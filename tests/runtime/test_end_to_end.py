"""From sound to a subscriber: the commands, the daemon, a real mosquitto."""

from __future__ import annotations

import json
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import numpy as np
import pytest
import soundfile
from paho.mqtt import publish

from edge_monitor.capture.resampling import resample
from edge_monitor.demo.story import lasting
from tests.broker import Broker, Received, Subscriber, wait_until
from tests.product import Product
from tests.sound_server import SoundServer, microphone_server_fixture
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Product]

__all__ = ["microphone_server_fixture"]
SCHEMAS = Path(__file__).parents[2] / "docs/mqtt"
BASE = "edge-monitor/v1/plant/edge"


def check_contract(messages: list[Received]) -> None:
    """Check every message against the published schema of its kind."""
    for message in messages:
        kind = message.topic.rpartition("/")[2]
        jsonschema.validate(json.loads(message.payload), json.loads((SCHEMAS / f"{kind}.schema.json").read_text()))


def last_state_is(scada: Subscriber, state: str) -> bool:
    """Return whether the pump's newest state is this one."""
    messages = scada.on(f"{BASE}/pump/state")
    return bool(messages) and json.loads(messages[-1].payload)["state"] == state


def playlist(folder: Path, healthy: int, faulty: int, fault: str = "bearing") -> str:
    """Write healthy, then faulty clips; return the source that plays them as fast as it goes."""
    write_clips(folder, "0_healthy", pump(healthy * 10, take=1))
    if faulty:
        write_clips(folder, "1_faulty", pump(faulty * 10, take=2, fault=fault))
    return f'{{ kind = "recording", path = "{folder}", pace = "max" }}'


def test_a_recorded_fault_reaches_a_subscriber(enrolled: Make, tmp_path: Path) -> None:
    """Healthy clips pass in silence; the faulty ones after them end in one valid alert, and the run in exit code 0."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        done = enrolled(playlist(tmp_path / "clips", 12, 6), mqtt_port=broker.port).command("run")
        assert done.returncode == 0, done.stderr
        [start] = [json.loads(message.payload) for message in scada.wait_for(f"{BASE}/pump/alert")]
        check_contract(scada.messages)
        states = [json.loads(message.payload)["state"] for message in scada.on(f"{BASE}/pump/state")]
        status = [json.loads(message.payload)["state"] for message in scada.wait_for(f"{BASE}/status", 2)]
    assert (start["event"], start["seq"], start["persisted"]) == ("start", 0, 1)
    assert start["window_end_s"] > 120.0
    assert states[-1] == "alarm"
    assert "normal" in states
    assert status == ["online", "stopped"]


def test_healthy_recordings_raise_nothing(enrolled: Make, tmp_path: Path) -> None:
    """Four minutes of another healthy take end without an alarm."""
    product = enrolled(playlist(tmp_path / "clips", 24, 0))
    assert product.command("run").returncode == 0
    assert product.answer("alarms list") == []
    assert product.rows("SELECT sum(windows) > 20, sum(faults) FROM score_minutes") == [(1, 0)]


def test_evidence_lies_beside_the_alarm(enrolled: Make, tmp_path: Path) -> None:
    """With evidence = "audio" an alarm has a picture, and its sound at the native rate with pre-roll."""
    product = enrolled(playlist(tmp_path / "clips", 6, 6), extra='evidence = "audio"')
    assert product.command("run").returncode == 0
    [alarm] = product.answer("alarms list")
    assert Path(alarm["evidence"]["picture"]).read_bytes().startswith(b"\x89PNG")
    sound = soundfile.info(alarm["evidence"]["audio"])
    assert sound.samplerate == 16_000
    assert sound.duration == pytest.approx(10.0, abs=0.3)  # the file that confirmed it: a file boundary is a gap


@pytest.mark.recordings
@pytest.mark.parametrize("name", ["valve", "slider"])
def test_real_anomalies_reach_a_subscriber(recordings: Path, tmp_path: Path, name: str) -> None:
    """A real machine's healthy training clips are enrolled; anomalous test clips that last end in valid alerts."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for kind, order in (("normal", 0), ("anomaly", 1)):
        heard = sorted((recordings / name / "test").glob(f"{kind}_id_00_*"))
        for number, path in enumerate(lasting(heard, 0.7)):
            (clips / f"{order}_{number:03d}_{path.name}").symlink_to(path)
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        source = f'{{ kind = "recording", path = "{clips}", pace = "max" }}'
        sooner = "alarm = { changed_after_s = 600, alarm_after_s = 1800 }"
        product = Product(tmp_path, source, mqtt_port=broker.port, extra=sooner)
        enrolled = product.command("enroll", str(recordings / name / "train"), "--pattern", "normal_id_00_*")
        assert enrolled.returncode == 0, enrolled.stderr
        assert product.command("run").returncode == 0
        alerts = scada.wait_for(f"{BASE}/pump/alert")
        changed = scada.wait_for(f"{BASE}/pump/condition")
        check_contract(scada.messages)
    start = json.loads(alerts[0].payload)
    assert start["event"] == "start"
    assert json.loads(changed[0].payload)["episode_id"] == start["alarm_id"]


def test_a_microphone_hears_a_fault(tmp_path: Path, microphone_server: SoundServer) -> None:
    """Sound that is played into a real sound server comes through PortAudio into an alert, and not before the fault."""
    rate_hz = 48_000  # the sound server's own, so that only our resampler touches it, enrolled or played
    healthy = write_clips(tmp_path / "healthy", "healthy", resample(pump(600), 16_000, rate_hz), rate_hz)
    sound = np.concatenate([pump(25, take=1), pump(45, take=2, fault="rattle", fault_db=10.0)])
    soundfile.write(tmp_path / "pump.wav", resample(sound, 16_000, rate_hz), rate_hz, subtype="PCM_16")
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = Product(
            tmp_path,
            '{ kind = "microphone", device = "default" }',
            mqtt_port=broker.port,
            environment=microphone_server.environment,
        )
        assert product.command("enroll", *map(str, healthy)).returncode == 0
        with product.daemon() as daemon:
            player = microphone_server.play(tmp_path / "pump.wav")
            [start] = [json.loads(message.payload) for message in scada.wait_for(f"{BASE}/pump/alert", seconds=90)]
            scores = [json.loads(message.payload)["ratio"] for message in scada.on(f"{BASE}/pump/score")]
            check_contract(scada.messages)
            assert daemon.stop() == 0
        player.terminate()
        player.wait(10)
    assert start["event"] == "start"
    assert min(scores) < 1.0 < max(scores)


def test_a_missing_microphone_is_a_state_not_an_exit(
    enrolled: Make, tmp_path: Path, microphone_server: SoundServer
) -> None:
    """A device that is not there yet is published as no-audio within 10 s, and the daemon goes on waiting for it."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(
            '{ kind = "microphone", device = "No Such Card" }',
            mqtt_port=broker.port,
            environment=microphone_server.environment,
        )
        with product.daemon() as daemon:
            topic = f"{BASE}/pump/state"
            wait_until(lambda: any(b"no-audio" in message.payload for message in scada.on(topic)), 10.0, "no-audio")
            assert daemon.process.poll() is None
            assert daemon.stop() == 0


def test_sigterm_ends_the_daemon_in_order(enrolled: Make, tmp_path: Path) -> None:
    """SIGTERM ends it within 5 s with exit code 0, and the plant is told that it stopped."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        with enrolled(mqtt_port=broker.port).daemon() as daemon:
            scada.wait_for(f"{BASE}/status")
            began_s = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began_s < 5.0
        messages = [json.loads(message.payload) for message in scada.wait_for(f"{BASE}/status", 2)]
    assert [message["state"] for message in messages] == ["online", "stopped"]


def test_a_second_daemon_refuses(enrolled: Make) -> None:
    """Two daemons on one state directory: the second says so in one line within 2 s, the first goes on."""
    product = enrolled()
    with product.daemon() as daemon:
        took_s = []
        for _ in range(3):  # served first, if one may: it takes 0.7 s of processor time, the start of Python with it
            began_s = time.monotonic()
            second = subprocess.run(
                ["nice", "-n", "-19", *product.argv("run")], capture_output=True, text=True, check=False
            )
            took_s.append(time.monotonic() - began_s)
            assert second.returncode == 1
            assert "another edge-monitor works on this state directory" in second.stderr
        assert min(took_s) <= 2.0
        assert product.listening()
        assert daemon.stop() == 0


def test_no_broker_is_no_error(enrolled: Make, tmp_path: Path) -> None:
    """Without [mqtt] alarms are kept and shown; with a broker that is down they wait in the outbox."""
    product = enrolled(playlist(tmp_path / "clips", 2, 6), mqtt_port=1)
    assert product.command("run").returncode == 0
    [alarm] = product.answer("alarms list")
    assert product.rows("SELECT alarm_id, seq FROM outbox WHERE topic LIKE '%/alert'") == [(alarm["alarm_id"], 0)]


def test_the_plant_says_that_the_machine_stands(enrolled: Make, tmp_path: Path) -> None:
    """A retained `0` on the run topic makes the machine not-running; `1` makes it scored again after settling."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(
            '{ kind = "simulator", machine = "pump", take = 1, pace = 20 }',
            mqtt_port=broker.port,
            extra='[machine.running]\ntopic = "line-2/pump/speed_rpm"\nrunning_above = 100',
        )
        tell_speed = partial(
            publish.single, "line-2/pump/speed_rpm", retain=True, hostname="127.0.0.1", port=broker.port
        )
        tell_speed("0")
        with product.daemon() as daemon:
            for speed, state in (("0", "not-running"), ("1480", "normal"), ("0", "not-running")):
                tell_speed(speed)
                wait_until(partial(last_state_is, scada, state), 20.0, state)
            assert daemon.stop() == 0
