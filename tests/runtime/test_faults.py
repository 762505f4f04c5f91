"""What goes wrong beside the audio: a window that fails, a closed log, a full disk, an interrupted enrolment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from edge_monitor.alarm.state_machine import Restored
from edge_monitor.config.file import load_settings
from edge_monitor.config.machine import MachineSettings, RecordingSource
from edge_monitor.encode.encoder import Encoder
from edge_monitor.node.node import Node
from edge_monitor.pipeline.machine_pipeline import MachinePipeline, NotLearnt
from edge_monitor.records import AudioBlock
from tests.broker import Broker, Subscriber, free_port, wait_until
from tests.encode.foreign import ForeignBundle, thirds_model
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Product]

BASE = "edge-monitor/v1/plant/edge"
FAILING = '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 60, pace = 20 }'


def test_a_window_that_fails_costs_itself(tmp_path: Path) -> None:
    """A model that fails on some windows makes them a signal fault; the windows after them are judged as before."""
    ForeignBundle(tmp_path / "state/models/foreign").write(model=thirds_model(op="Log"))  # NaN below zero
    noise = np.random.default_rng(0).normal(0.0, 0.02, (6, 30 * 8000)).astype(np.float32)
    (tmp_path / "clips").mkdir()
    for number, offset in enumerate((0.1, 0.1, 0.1, 0.1, -0.1, 0.1)):
        soundfile.write(tmp_path / f"clips/{number}.wav", noise[number] + offset, 8000)
    product = Product(
        tmp_path,
        f'{{ kind = "recording", path = "{tmp_path / "clips"}", pace = "max" }}',
        extra='[machine.running]\ngate = "off"',
        bundle="foreign",
    )
    assert product.command("enroll", *(str(tmp_path / f"clips/{number}.wav") for number in range(3))).returncode == 0
    with product.daemon() as daemon:
        assert daemon.process.wait(30) == 0
    states = [event["state"] for event in daemon.events() if event["event"] == "machine.state_changed"]
    assert states == ["normal", "signal-fault", "normal"]
    assert "service.window_failed" in {event["event"] for event in daemon.events()}


def test_a_closed_log_silences_nobody(enrolled: Make, tmp_path: Path) -> None:
    """Whoever reads the log goes away while the broker is down: the alarm still arrives when the broker is back."""
    port = free_port()
    product = enrolled(FAILING, mqtt_port=port)
    daemon = subprocess.Popen(product.argv("run"), stderr=subprocess.PIPE)
    try:
        assert daemon.stderr is not None
        wait_until(product.listening, 20.0, "the control socket")
        daemon.stderr.close()
        wait_until(lambda: product.rows("SELECT 1 FROM alarms"), 30.0, "an alarm")
        with Broker(tmp_path, port=port), Subscriber(port) as scada:
            scada.wait_for(f"{BASE}/pump/alert", seconds=30.0)
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "state"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_delays_no_alarm_and_loses_none(small_disk: Path, enrolled_state: Path, tmp_path: Path) -> None:
    """On a full disk the alert goes out marked `persisted: 0`; when there is room again the alarm is stored."""
    subprocess.run(["cp", "-a", f"{enrolled_state}/.", str(small_disk)], check=True)
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = Product(tmp_path, FAILING, mqtt_port=broker.port)
        with product.daemon() as daemon:
            wait_until(lambda: b'"normal"' in scada.wait_for(f"{BASE}/pump/state")[-1].payload, 20.0, "normal")
            (small_disk / "reserve").unlink()  # it would take some hundred alarms more
            subprocess.run(
                ["dd", "if=/dev/zero", f"of={small_disk}/filler", "bs=4096"], check=False, capture_output=True
            )
            [alert] = [json.loads(message.payload) for message in scada.wait_for(f"{BASE}/pump/alert", seconds=30.0)]
            wait_until(lambda: b'"storage-fault"' in scada.on(f"{BASE}/pump/state")[-1].payload, 10.0, "storage-fault")
            (small_disk / "filler").unlink()
            wait_until(lambda: b'"state":"alarm"' in scada.on(f"{BASE}/pump/state")[-1].payload, 20.0, "recovery")
            assert product.rows("SELECT alarm_id, last_seq FROM alarms") == [(alert["alarm_id"], 0)]
            assert product.status()["health"]["evidence_lost"] == 1
            assert daemon.stop() == 0
    assert (alert["event"], alert["persisted"]) == ("start", 0)
    assert product.intact()


def test_an_interrupted_enrolment_is_withdrawn(tmp_path: Path) -> None:
    """Ctrl-C during live enrolment leaves nothing in use, says how to take it in after all, and that works."""
    product = Product(tmp_path, '{ kind = "simulator", machine = "pump", pace = 30 }')
    with product.daemon() as daemon:
        enrolment = subprocess.Popen(product.argv("enroll", "--live", "60"), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: product.rows("SELECT count(*) FROM normals") >= [(6,)], 30.0, "two blocks")
        enrolment.send_signal(signal.SIGINT)
        error = enrolment.communicate(timeout=10)[1]
        assert enrolment.returncode == 130
        wait_until(lambda: product.rows("SELECT count(*) FROM normals WHERE removed_ms IS NULL") == [(0,)], 10.0, "it")
        session = (
            error.partition("normals restore` '")[2].partition("'")[0] or error.partition("'")[2].partition("'")[0]
        )
        assert product.answer("normals restore", session)["left"] >= 6
        assert daemon.stop() == 0


def test_two_enrolments_of_one_machine(tmp_path: Path) -> None:
    """The second enrolment is refused, the first one goes on."""
    product = Product(tmp_path, '{ kind = "simulator", machine = "pump", pace = 30 }')
    with product.daemon() as daemon:
        first = subprocess.Popen(product.argv("enroll", "--live", "6"), stderr=subprocess.DEVNULL)
        wait_until(lambda: product.status()["machines"][0]["state"] == "learning", 20.0, "learning")
        second = product.command("enroll", "--live", "1")
        assert second.returncode == 1
        assert "is being enrolled already" in second.stderr
        assert first.wait(60) == 0
        assert daemon.stop() == 0


def test_an_inhibition_runs_while_the_machine_stands(enrolled: Make, tmp_path: Path) -> None:
    """An inhibition counts from when it is given, whether or not a window can be scored meanwhile."""
    settings = load_settings(enrolled().config)
    source = RecordingSource(kind="recording", path=tmp_path, pace="max")
    machine = MachineSettings(name="pump", source=source)
    pipeline = MachinePipeline(
        machine, Encoder(Node(settings).bundle), hop_s=1.0, learnt=NotLearnt(), restored=Restored(), new_id=str
    )
    silence = np.zeros(1600, dtype=np.float32)
    pipeline.inhibit(60.0)
    for start_s in range(100):
        list(pipeline.process(AudioBlock("pump", silence, 16_000, float(start_s)), lambda: 0))
    assert not pipeline.alarm.inhibited(100.0)
    assert pipeline.alarm.inhibited(60.0)
