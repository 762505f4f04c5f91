"""`edge-monitor reload`: what it answers is what the daemon runs with."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from edge_monitor.config.file import load_settings
from edge_monitor.runtime.reload import changed_keys
from tests.broker import wait_until
from tests.enrolled import IDLE
from tests.product import Product

SPECTRAL = Path(__file__).parents[2] / "models/spectral"


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """Return a node whose machine is not enrolled."""
    return Product(tmp_path, IDLE)


def machines(product: Product) -> list[str]:
    """Return the machines the daemon listens to."""
    return [each["machine"] for each in product.status()["machines"]]


def test_new_settings_are_in_force_when_the_command_ends(product: Product) -> None:
    """It names the keys that changed, the same process runs with them, and a second reload changes nothing."""
    with product.daemon() as daemon:
        product.machine, product.model = "press", "threads = 2"
        done = product.command("reload")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "in force: machine.press, machine.pump, model.threads\n"
        assert machines(product) == ["press"]
        assert product.answer("reload") == {"changed": []}
        assert product.command("reload").stdout == "the settings are unchanged\n"
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("changes", "reason", "code"),
    [
        ({"machine": "pump 3"}, "topic segment", 2),
        ({"bundle": "no-such"}, "no-such", 1),
        ({"source": '{ kind = "recording", path = "no-such.wav" }'}, "no-such.wav", 1),
    ],
)
def test_settings_that_cannot_be_used_are_a_failure_with_its_reason(
    product: Product, changes: dict[str, str], reason: str, code: int
) -> None:
    """One line says why, the exit code is not 0, and the daemon goes on as before."""
    with product.daemon():
        for field, value in changes.items():
            setattr(product, field, value)
        done = product.command("reload")
        assert (done.returncode, done.stdout) == (code, "")
        [line] = done.stderr.splitlines()
        assert reason in line
        product.machine, product.bundle, product.source = "pump", "spectral", IDLE
        assert machines(product) == ["pump"]
        assert product.answer("reload") == {"changed": []}


def test_a_start_that_fails_with_the_new_settings_is_a_failure(product: Product) -> None:
    """A bundle whose file has the right size and wrong bytes shows when it is loaded: the settings from before run."""
    broken = product.folder / "broken"
    shutil.copytree(SPECTRAL, broken)
    model = broken / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    with product.daemon() as daemon:
        product.bundle = "./broken"
        done = product.command("reload")
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert line.startswith("edge-monitor: not taken up, the settings from before are in force: ")
        assert str(broken) in line
        assert product.status()["bundle"] == "spectral"
        product.bundle = "spectral"
        assert product.answer("reload") == {"changed": []}
        assert daemon.stop() == 0


def test_a_reload_in_the_middle_of_an_enrolment_is_refused_with_the_reason(product: Product) -> None:
    """By command and by SIGHUP: the enrolment goes on to its end, the settings are the old ones until it is over."""
    product.source = '{ kind = "simulator", machine = "pump", pace = 20 }'
    with product.daemon() as daemon:
        enrolling = subprocess.Popen(product.argv("enroll", "--live", "10"), stdout=subprocess.DEVNULL)
        wait_until(lambda: product.status()["machines"][0]["state"] == "learning", 20.0, "the enrolment")
        product.model = "threads = 2"
        refused = product.command("reload")
        assert refused.returncode == 1
        assert "enroll.live under way (reload once that has ended)" in refused.stderr
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: sum(each["event"] == "config.refused" for each in daemon.events()) == 2, 5.0, "the second refusal"
        )
        assert enrolling.wait(60.0) == 0
        assert product.answer("reload") == {"changed": ["model.threads"]}
        # Three of four windows, 45, since one of guard follows each block; at this pace a busy box loses some.
        assert 40 <= product.answer("generations list")[0]["normals"] <= 45
        assert daemon.stop() == 0


def test_without_a_daemon_there_is_nothing_to_reload(product: Product) -> None:
    """The socket that nobody listens at is named, and nothing is made."""
    done = product.command("reload")
    assert done.returncode == 1
    assert done.stderr.startswith(f"edge-monitor: {product.state}/run/control.sock: no daemon listens here (")
    assert not product.state.exists()


def test_a_daemon_that_dies_meanwhile_answers_nothing_good(product: Product) -> None:
    """Whoever waits for it is told that it has ended."""
    with product.daemon() as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        asker = subprocess.Popen(product.argv("reload"), stderr=subprocess.PIPE, text=True)
        time.sleep(2.0)  # more than it takes to ask; less is no harm, for nobody listens then
        daemon.kill()
        told = asker.communicate(timeout=30.0)[1]
    assert asker.returncode == 1
    assert len(told.splitlines()) == 1


def test_all_who_ask_at_once_are_answered(product: Product) -> None:
    """Three commands and a SIGHUP: one reload or two, and each command ends with the truth."""
    with product.daemon() as daemon:
        product.machine = "press"
        asked = product.argv("reload")
        askers = [subprocess.Popen(asked, stderr=subprocess.PIPE) for _ in range(3)]
        daemon.process.send_signal(signal.SIGHUP)
        told = [asker.communicate(timeout=60.0)[1] for asker in askers]
        assert [asker.returncode for asker in askers] == [0, 0, 0], told
        assert machines(product) == ["press"]
        assert daemon.stop() == 0


def test_changes_are_named_by_table_machine_and_key(tmp_path: Path) -> None:
    """Keys as in the file; a table that came is one key; no value is shown."""
    first = Product(tmp_path / "first", IDLE, mqtt_port=1)
    second = Product(
        tmp_path / "second", IDLE, mqtt_port=2, tables="[metrics]\nport = 9", extra="[machine.alarm]\nraise = [2, 4]"
    )
    for each in (first, second):
        each.folder.mkdir()
    before, after = load_settings(first.config), load_settings(second.config)
    assert changed_keys(before, after) == (
        "machine.pump.alarm.raise",
        "metrics",
        "mqtt.port",
        "node.state_dir",
    )
    assert changed_keys(before, before) == ()
