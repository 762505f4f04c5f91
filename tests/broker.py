"""A real mosquitto on a free loopback port, and a real subscriber."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_monitor.config.settings import TlsSettings
from edge_monitor.deliver.credentials import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType


def free_port() -> int:
    """Return a TCP port that was free on the loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float = 10.0, what: str = "the condition") -> None:
    """Return soon after `condition` holds, the sooner the shorter it took; fail after `seconds`."""
    began_s = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began_s
        assert waited_s < seconds, f"{what} did not come true within {seconds} s"
        time.sleep(min(0.005 + waited_s / 20, 0.1))


class Broker:
    """A mosquitto process that can be stopped, restarted, killed and frozen; `extra` is added to its configuration."""

    def __init__(self, folder: Path, *extra: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence false"]
        if not any(line.startswith("allow_anonymous") for line in extra):
            lines.append("allow_anonymous true")
        self._config.write_text("\n".join([*lines, *extra]) + "\n")

    def start(self) -> None:
        """Start, and return when it listens."""
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([binary, "-c", str(self._config)], stdout=log, stderr=log)
        wait_until(self._listens, 5.0, "mosquitto listening")

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a word."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    def reconfigure(self, old: str, new: str) -> None:
        """Replace a text in its configuration, and restart it in an orderly way."""
        self.stop()
        config = self._config.read_text()
        assert old in config, old
        self._config.write_text(config.replace(old, new))
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze()`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it if it still runs."""
        self.kill()

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass(frozen=True, slots=True)
class Received:
    """One message as a subscriber got it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, str]  # user properties
    at_ns: int  # time.monotonic_ns()


@dataclass
class Subscriber:
    """A subscriber that notes everything it gets; a context manager. A `session` name makes it durable."""

    port: int
    topic: str = "#"
    session: str | None = None
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None  # present = TLS
    messages: list[Received] = field(default_factory=list)
    subscriptions: int = 0  # made so far: one per connection

    def __enter__(self) -> Self:
        """Connect, and return when subscribed."""
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        protocol = MQTTProtocolVersion.MQTTv5 if self.session is None else MQTTProtocolVersion.MQTTv311
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.session,
            protocol=protocol,
            clean_session=None if self.session is None else False,
        )
        self._client.username_pw_set(self.username, self.password)
        if self.ca_file is not None:
            self._client.tls_set_context(tls_context(TlsSettings(ca_file=self.ca_file)))
        arguments = {"options": options} if self.session is None else {"qos": 1}
        self._client.on_connect = lambda client, *_: client.subscribe(self.topic, **arguments)
        self._client.on_subscribe = self._note_subscription
        self._client.on_message = self._note
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        wait_until(lambda: self.subscriptions == 1, 10.0, "SUBACK")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def on(self, topic: str) -> list[Received]:
        """Return what came on one topic, in order."""
        return [message for message in list(self.messages) if message.topic == topic]

    def wait_for(self, topic: str, count: int = 1, seconds: float = 10.0) -> list[Received]:
        """Return the messages on `topic` as soon as there are `count`."""
        wait_until(lambda: len(self.on(topic)) >= count, seconds, f"{count} messages on {topic}")
        return self.on(topic)

    def _note_subscription(self, *_: object) -> None:
        self.subscriptions += 1

    def _note(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        user = dict(getattr(message.properties, "UserProperty", []))
        self.messages.append(
            Received(message.topic, bytes(message.payload), message.qos, message.retain, user, time.monotonic_ns())
        )
