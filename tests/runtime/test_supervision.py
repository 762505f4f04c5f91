"""What minds the daemon's threads, what systemd is told, and how a new configuration is taken up."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from edge_monitor.runtime.audio_queue import AudioQueue
from edge_monitor.runtime.supervision import SupervisedThread
from edge_monitor.runtime.systemd import Notifier
from edge_monitor.runtime.watchdog import Progress, stuck
from tests.broker import Broker, Subscriber, free_port, wait_until
from tests.enrolled import IDLE
from tests.explained import BASE, inside
from tests.product import Product
from tests.runtime.test_metrics import scrape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_monitor.records import AudioBlock, AudioLoss

STATUS = f"{BASE}/status"


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return a socket that listens as systemd does."""
    address = tmp_path / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as channel:
        channel.bind(str(address))
        channel.settimeout(20.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield channel


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """Return a node whose machine is not enrolled."""
    return Product(tmp_path, IDLE)


def heard(manager: socket.socket, begin: str) -> str:
    """Wait for a message that begins so."""
    while not (message := manager.recv(4096).decode()).startswith(begin):
        pass
    return message


def test_work_that_dies_is_begun_anew() -> None:
    """Twice it raises, the third time it ends: two restarts, and the last reason is kept."""
    outcomes = [RuntimeError("first"), RuntimeError("second")]

    def work() -> None:
        if outcomes:
            raise outcomes.pop(0)

    thread = SupervisedThread("example", work, pause_s=0.01)
    thread.start()
    wait_until(lambda: not thread.is_alive(), 5.0, "the work to end")
    health = thread.health()
    assert (health.name, health.restarts, health.last_error) == ("example", 2, "second")


def test_work_that_dies_at_the_end_is_left() -> None:
    """Whoever joins the thread does not wait for its pause."""

    def work() -> None:
        raise RuntimeError("again")

    thread = SupervisedThread("example", work, pause_s=60.0)
    thread.start()
    wait_until(lambda: thread.health().last_error is not None, 5.0, "the work to die")
    thread.join(5.0)
    assert not thread.is_alive()


def test_a_thread_that_died_shows_wherever_health_is_told(
    enrolled: Callable[..., Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline dies once: it scores again, and `status`, the plant and the metrics count one restart."""
    port, take, deaths = free_port(), AudioQueue.get, [RuntimeError("it died")]

    def take_or_die(feed: AudioQueue, timeout_s: float) -> AudioBlock | AudioLoss | None:
        if deaths:
            raise deaths.pop()
        return take(feed, timeout_s)

    monkeypatch.setattr(AudioQueue, "get", take_or_die)
    with Broker(tmp_path) as broker, Subscriber(broker.port, STATUS) as scada:
        product = enrolled(IDLE.replace('"realtime"', "20"), mqtt_port=broker.port, tables=f"[metrics]\nport = {port}")
        with inside(product.config) as daemon:
            wait_until(lambda: product.status()["machines"][0]["state"] == "normal", 30.0, "a score")
            told = product.answer("status")
            assert (told["health"]["thread_restarts"], told["threads"][0]["last_error"]) == (1, "it died")
            assert scrape(port)["edge_monitor_thread_restarts_total"].value == 1.0
            daemon.publisher.refresh_status()  # as every minute
            wait_until(lambda: json.loads(scada.messages[-1].payload)["thread_restarts"] == 1, 10.0, "it in the status")


@pytest.mark.parametrize(
    ("progress", "verdict"),
    [
        (Progress(100.0), ""),
        (Progress(69.0), "the pipeline has not moved for 31 s"),
        (Progress(100.0, storage_busy_since_s=-190.0), ""),
        (Progress(100.0, storage_busy_since_s=-201.0), "a write has not ended for 301 s"),
        (Progress(100.0, publisher_turned_s=-199.0), ""),
        (Progress(100.0, publisher_turned_s=-201.0), "the publisher has not moved for 301 s"),
        (Progress(100.0, publisher_turned_s=71.0, connected=True), ""),
        (Progress(100.0, publisher_turned_s=69.0, connected=True), "the publisher has not moved for 31 s"),
        (Progress(100.0, api_turned_s=71.0), ""),
        (Progress(100.0, api_turned_s=69.0), "the API has not moved for 31 s"),
    ],
)
def test_only_what_stands_still_is_a_hang(progress: Progress, verdict: str) -> None:
    """A slow disk and a slow resolver are waited for, a pipeline that does not turn is not."""
    assert stuck(progress, 100.0) == verdict


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, no message, no error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.ready()
    notifier.ping(0.0)


def test_an_abstract_socket_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd may give a name that begins with @."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as channel:
        channel.bind(f"\0edge-monitor-test-{os.getpid()}")
        channel.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@edge-monitor-test-{os.getpid()}")
        Notifier().status("one\nline")
        assert channel.recv(100) == b"STATUS=one line"


def test_a_watchdog_for_another_process_is_not_pinged(monkeypatch: pytest.MonkeyPatch, manager: socket.socket) -> None:
    """WATCHDOG_PID names who is watched."""
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier()
    notifier.ping(0.0)
    notifier.ready()
    assert manager.recv(100) == b"READY=1"


def test_the_service_manager_hears_of_start_progress_and_end(manager: socket.socket, product: Product) -> None:
    """READY once it runs, pings while it makes progress, STOPPING at its end."""
    with product.daemon() as daemon:
        heard(manager, "READY=1")
        heard(manager, "WATCHDOG=1")
        assert heard(manager, "STATUS=").startswith("STATUS=pump ")
        assert daemon.stop() == 0
        heard(manager, "STOPPING=1")


def test_a_process_that_stands_still_is_not_called_alive(manager: socket.socket, product: Product) -> None:
    """Stopped in its tracks, the daemon sends no more pings, so that systemd restarts it."""
    with product.daemon() as daemon:
        heard(manager, "WATCHDOG=1")
        daemon.process.send_signal(signal.SIGSTOP)
        manager.settimeout(0.5)
        with suppress(TimeoutError):  # what was sent before
            while manager.recv(4096):
                pass
        manager.settimeout(2.0)
        with pytest.raises(TimeoutError):
            manager.recv(4096)


def test_a_reload_applies_what_has_changed(manager: socket.socket, product: Product) -> None:
    """After SIGHUP the same process runs with the new name of the machine, and says READY again."""
    with product.daemon() as daemon:
        heard(manager, "READY=1")
        config = product.config
        config.write_text(config.read_text().replace('name = "pump"', 'name = "press"'))
        daemon.process.send_signal(signal.SIGHUP)
        heard(manager, "RELOADING=1")
        heard(manager, "READY=1")
        wait_until(product.listening, 10.0, "the control socket")
        assert [each["machine"] for each in product.answer("status")["machines"]] == ["press"]
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('name = "pump"', 'name = "pump 3"', "topic segment"),
        ('bundle = "spectral"', 'bundle = "no-such"', "no-such"),
        ('{ kind = "simulator"', '{ kind = "recording", path = "no-such.wav" } #', "no-such.wav"),
    ],
)
def test_a_bad_configuration_changes_nothing(
    manager: socket.socket, product: Product, old: str, new: str, reason: str
) -> None:
    """The running daemon goes on, and the log says in one line what is wrong."""
    with product.daemon() as daemon:
        heard(manager, "READY=1")
        config = product.config
        config.write_text(config.read_text().replace(old, new))
        daemon.process.send_signal(signal.SIGHUP)
        heard(manager, "READY=1")

        def rejected() -> list[str]:
            return [event["reason"] for event in daemon.events() if event["event"] == "config.rejected"]

        wait_until(rejected, 5.0, "the line in the log")
        [why] = rejected()
        assert reason in why
        assert product.answer("status")["running"] is True
        assert daemon.process.poll() is None


@pytest.mark.parametrize(("commands", "threads"), [('["resume"]', ["commands"]), ("[]", [])])
def test_the_thread_that_obeys_commands_is_minded_like_the_others(
    tmp_path: Path, commands: str, threads: list[str]
) -> None:
    """Where commands are allowed their thread is in `status`, and so in what ends the daemon when it is dead."""
    product = Product(tmp_path, IDLE, mqtt_port=1, mqtt=f"commands = {commands}")
    with product.daemon() as daemon:
        told = [each["name"] for each in product.answer("status")["threads"]]
        assert daemon.stop() == 0
    assert told == ["pipeline", "storage", "measuring", "wording", "housekeeping", "trends", *threads]
