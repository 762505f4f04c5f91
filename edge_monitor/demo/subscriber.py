"""What SCADA would see: a subscriber that tells each message."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import MQTTMessage

    from edge_monitor.console import Console


class Scada:
    """Keeps the alerts it has received, and tells when one comes."""

    def __init__(self, console: Console) -> None:
        self.alerts: list[dict[str, Any]] = []
        self._came = threading.Condition()
        self._console = console

    def wait_for_alert(self, timeout_s: float) -> bool:
        """Wait for the first alert; False when none came in time."""
        with self._came:
            return self._came.wait_for(lambda: bool(self.alerts), timeout_s)

    def receive(self, topic: str, payload: bytes) -> None:
        """Tell a message on a line of its own, and keep it when it is an alert."""
        kind = topic.rpartition("/")[2]
        message = json.loads(payload)
        match kind:
            case "state":
                self._tell(topic, message["state"], message["text"])
            case "alert":
                with self._came:
                    self.alerts.append(message)
                    self._came.notify_all()
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
