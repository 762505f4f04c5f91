"""One MQTT connection, from TCP to its loss: a fresh paho client that only the calling thread drives."""

from __future__ import annotations

import select
import socket
import ssl
import time
from socket import gaierror
from types import MappingProxyType
from typing import TYPE_CHECKING

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_monitor.deliver.credentials import identify, new_client
from edge_monitor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_monitor.config.settings import MqttSettings

_MAX_PACKET_BYTES = 65_536  # from the broker to this node
_TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1
_REFUSAL = 0x80  # MQTT 5, 2.4: reason codes from here on are errors
_MAX_IN_FLIGHT = 20  # mosquitto's default Receive Maximum; more gains nothing on one link
REFUSED = "refused by the broker"
CLOSED = "the broker closed the connection"  # without a word
_HEADER_BYTES = 1 + 4 + 2 + 2  # fixed header, longest remaining length, topic length, packet id


class Connection:
    """A connection that is never reused: paho keeps no queue of its own and never reconnects.

    paho's callbacks only note what happened; `take_acknowledged()`, `ready` and `lost` tell the caller after `wait()`.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        *,
        will: tuple[str, bytes] | None = None,
        subscriptions: Mapping[str, Callable[[bytes, bool], None]] = MappingProxyType({}),
    ) -> None:
        self.ready = False  # True between CONNACK and loss
        self.lost: str | None = None  # why the connection ended, one line
        self.closed_by_broker = False
        self.max_in_flight = _MAX_IN_FLIGHT
        self.max_packet_bytes: int | None = None
        self._settings = settings
        self._subscriptions = subscriptions  # topic -> what takes payload and retain flag; must not raise
        self.unheard: dict[str, str] | None = None  # topics it refuses to send -> its words; None: not answered yet
        self._acknowledged: list[tuple[int, str | None]] = []
        self._mqtt5 = settings.protocol == "5"
        self._client = new_client(settings, client_id)
        self._client.max_inflight_messages = 0  # the caller limits; paho must not queue
        if will is not None:  # the topic and payload that the broker publishes for this node when it is lost
            self._client.will_set(*will, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe

    def open(self, timeout_s: float) -> None:
        """Open the socket (and TLS) and send CONNECT; raises DeliveryError. `ready` turns True in a later `wait()`."""
        settings = self._settings
        identify(self._client, settings)
        self._client.connect_timeout = timeout_s
        # What keeps a broker from handing on more than a command or a run signal ever needs (MQTT 5).
        limits = _properties(PacketTypes.CONNECT, MaximumPacketSize=_MAX_PACKET_BYTES) if self._mqtt5 else None
        try:
            self._client.connect(settings.host, settings.port, keepalive=settings.keepalive_s, properties=limits)
        except (OSError, ValueError) as error:
            where = f"{settings.host}:{settings.port}"
            raise DeliveryError(f"no connection: {_words(error)}", where=where, hint=_hint(error)) from error
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an alarm does not wait for Nagle

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool = False, late_ms: int | None = None
    ) -> int | None:
        """Send one message and return its packet id; None when the broker can never take it (too large for it).

        `late_ms`, milliseconds since the message was committed, goes out as a user property (MQTT 5).
        """
        properties = None
        if self._mqtt5:
            properties = _properties(PacketTypes.PUBLISH, ContentType="application/json", PayloadFormatIndicator=1)
            if late_ms is not None:
                properties.UserProperty = ("late_ms", str(max(late_ms, 0)))
        if self.max_packet_bytes is not None:
            size = _HEADER_BYTES + len(topic) + len(payload)
            if properties is not None:
                size += len(properties.pack())  # type: ignore[no-untyped-call]  # paho leaves it untyped
            if size > self.max_packet_bytes:
                return None
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            self.end(f"send failed: {MQTTErrorCode(info.rc).name}")
        return info.mid

    @property
    def congested(self) -> bool:
        """Return True while earlier bytes still wait for the socket."""
        return self._client.want_write()

    def wait(self, timeout_s: float, wake: socket.socket | None = None) -> None:
        """Handle what arrives within `timeout_s` seconds; return early on traffic or when `wake` is readable."""
        sock = self._client.socket()
        if sock is None:
            self.end(self.lost or "connection lost")
            return
        poll = select.poll()
        if wake is not None:
            poll.register(wake.fileno(), select.POLLIN)
        poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        flags = dict(poll.poll(0 if pending else timeout_s * 1000)).get(sock.fileno(), 0)
        try:
            code = self._handle(
                readable=pending or bool(flags & ~select.POLLOUT), writable=bool(flags & select.POLLOUT)
            )
        except Exception as error:  # noqa: BLE001 - paho raises whatever its parser meets in a broker's garbage
            self.end(f"the broker does not speak MQTT: {error!r}")
            return
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.end(self.lost or f"connection lost: {code.name}")

    def _handle(self, *, readable: bool, writable: bool) -> MQTTErrorCode:
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        if readable:
            code = self._client.loop_read()
        if writable and code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            code = self._client.loop_write()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            code = self._client.loop_misc()
        return code

    def take_acknowledged(self) -> list[tuple[int, str | None]]:
        """Return (packet id, None or the broker's words of refusal) of what was answered since the last call."""
        answered, self._acknowledged = self._acknowledged, []
        return answered

    def end(self, reason: str) -> None:
        """Count the connection as lost for `reason`, unless it already is."""
        self.ready = False
        self.lost = self.lost or reason

    def close(self, *, clean: bool) -> None:
        """Close the socket; `clean` says goodbye first, so that the broker does not publish the Last Will."""
        self._client.on_disconnect = None
        sock = self._client.socket()
        if clean and sock is not None:
            deadline = time.monotonic() + 0.2
            self._client.disconnect()
            while self._client.want_write() and time.monotonic() < deadline:
                time.sleep(0.005)  # the goodbye waits for the socket, not for the broker; 0.2 s at most
                self._client.loop_write()
        if sock is not None:
            sock.close()

    def _on_connect(
        self, _client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.end(f"{REFUSED}: {code}")
            return
        limit = getattr(properties, "ReceiveMaximum", None)
        self.max_in_flight = min(_MAX_IN_FLIGHT, limit or _MAX_IN_FLIGHT)
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self.ready = True
        if self._subscriptions:
            self._subscribe()

    def _subscribe(self) -> None:
        if self._mqtt5:  # a retained message then says so, also when it comes while one listens
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            self._client.subscribe([(topic, options) for topic in self._subscriptions])
        else:
            self._client.subscribe([(topic, 1) for topic in self._subscriptions])

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        topics = zip(self._subscriptions, codes, strict=False)
        self.unheard = {topic: str(code) for topic, code in topics if code.value >= _REFUSAL}

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        take = self._subscriptions.get(message.topic)
        if take is not None:
            take(bytes(message.payload), message.retain)

    def _on_disconnect(
        self, _client: Client, _data: object, flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        taken_over = code.value == _TAKEN_OVER
        self.closed_by_broker = not taken_over and code != "Keep alive timeout"
        if taken_over:
            self.end("session taken over: does another node use the same client id?")
        elif flags.is_disconnect_packet_from_server:
            self.end(f"closed by the broker: {code}")
        elif code != "Unspecified error":  # which is what paho makes of a closed connection
            self.end(f"lost: {code}")
        else:
            self.end(CLOSED if self.ready else f"{CLOSED} before it answered CONNECT")

    def _on_publish(
        self, _client: Client, _data: object, mid: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._acknowledged.append((mid, str(code) if code.value >= _REFUSAL else None))


def _properties(packet: int, **values: object) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or type(error).__name__}"
    return getattr(error, "strerror", None) or str(error)


def _hint(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "check mqtt.tls.ca_file, the name in mqtt.host, the certificate's dates and this box's clock"
        case ssl.SSLError() | ConnectionResetError():
            return (
                "check mqtt.port (with TLS usually 8883), mqtt.tls, and whether the broker wants a client certificate"
            )
        case gaierror():
            return "check mqtt.host and this box's name server"
        case ConnectionRefusedError():
            return "check that the broker runs, and mqtt.port"
    return "check mqtt.host, mqtt.port, the network and firewalls"
