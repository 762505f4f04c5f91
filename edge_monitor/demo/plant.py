"""The plant's side of the demo: an MQTT broker in this process, for a box that has none, and what SCADA would see."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge_monitor.demo.commands import child
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import MQTTMessage

    from edge_monitor.console import Console

_START_S = 20.0


@contextmanager
def embedded_broker() -> Iterator[int]:
    """Run a broker on a free loopback port for as long as the body runs; yield the port.

    The one of the extra `demo`, which speaks MQTT 3.1.1, or else an installed mosquitto. Raises EdgeMonitorError when
    there is neither.
    """
    port = _free_port()
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if find_spec("amqtt") is not None:
        with _amqtt(port):
            yield port
    elif mosquitto is not None:
        with _mosquitto(mosquitto, port):
            yield port
    else:
        raise EdgeMonitorError("the demo needs a broker", hint="sudo apt-get install mosquitto, or `make demo`")


@contextmanager
def _mosquitto(binary: str, port: int) -> Iterator[None]:
    with child([binary, "-p", str(port)], subprocess.DEVNULL) as process:
        deadline_s = time.monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise EdgeMonitorError("the broker did not start", where=binary, hint=f"try `{binary} -v -p {port}`")
            time.sleep(0.05)  # mosquitto does not say when it listens
        yield


@contextmanager
def _amqtt(port: int) -> Iterator[None]:
    from amqtt.broker import Broker

    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broker", daemon=True)
    thread.start()

    async def start() -> Broker:
        broker = Broker(config, loop=loop)
        await broker.start()
        return broker

    broker = asyncio.run_coroutine_threadsafe(start(), loop).result(_START_S)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(_START_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Scada:
    """Keeps the alerts it has received, and tells when one comes."""

    def __init__(self, console: Console) -> None:
        self.alerts: list[dict[str, Any]] = []
        self._came = threading.Event()
        self._console = console

    def wait_for_alert(self, timeout_s: float) -> bool:
        """Wait for the first alert; False when none came in time."""
        return self._came.wait(timeout_s)

    def receive(self, topic: str, payload: bytes) -> None:
        """Tell a message on a line of its own, and keep it when it is an alert."""
        kind = topic.rpartition("/")[2]
        message = json.loads(payload)
        match kind:
            case "state":
                self._tell(topic, message["state"], message["text"])
            case "alert":
                self.alerts.append(message)
                self._came.set()
                self._tell(topic, message["event"], message["text"])
            case "status":
                self._tell(topic, message["state"])

    def _tell(self, topic: str, *words: str) -> None:
        colour, bold = ("red", True) if topic.endswith("/alert") else ("cyan", False)
        with suppress(OSError):  # who closes the terminal or the pipe ends the demo at its own next line
            self._console.say("  ".join((f"   {topic}", *words)), fg=colour, bold=bold)


@contextmanager
def watching(port: int, console: Console) -> Iterator[Scada]:
    """Subscribe to everything at the broker on this loopback port for as long as the body runs."""
    scada = Scada(console)
    subscribed = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="demo-scada")

    def receive(_client: Client, _data: object, message: MQTTMessage) -> None:
        scada.receive(message.topic, bytes(message.payload))

    client.on_message = receive
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("edge-monitor/#", qos=1)
    subscribed.wait(10.0)
    try:
        yield scada
    finally:
        client.disconnect()
        client.loop_stop()
