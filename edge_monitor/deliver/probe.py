"""Probes: does what this node sends arrive? Asked over a connection of its own, beside the publisher's."""

from __future__ import annotations

import ssl
import time
import uuid
from dataclasses import dataclass, field
from socket import gaierror
from typing import TYPE_CHECKING, Any

from paho.mqtt.enums import MQTTErrorCode

from edge_monitor.deliver.credentials import identify, new_client
from edge_monitor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_monitor.config.settings import MqttSettings

_REFUSED = 0x80  # MQTT 5, 2.4: reason codes from here on are errors
_STEP_S = 0.05


@dataclass
class Probes:
    """What became of them."""

    arrived: set[str] = field(default_factory=set)  # topics whose probe came back, or was taken by an MQTT 5 broker
    refused: dict[str, str] = field(default_factory=dict)  # topic -> the broker's words
    silent: set[str] = field(default_factory=set)  # acknowledged perhaps, but never seen
    unheard: dict[str, str] = field(default_factory=dict)  # topics to listen to that the broker refuses -> its words


def send_probes(
    settings: MqttSettings, client_id: str, topics: Sequence[str], *, listen: Sequence[str] = (), timeout_s: float = 5.0
) -> Probes:
    """Publish a probe on each of `topics` (QoS 1, not retained) and wait for it to come back; subscribe to `listen`.

    An MQTT 3.1.1 broker acknowledges what an ACL denies (mosquitto #547), so there only a probe that comes back counts;
    an MQTT 5 broker says what it refuses. Takes up to three times `timeout_s` seconds.
    Raises DeliveryError with a hint when there is no connection, or it is refused.
    """
    probes = Probes()
    session = _Session(settings, client_id, timeout_s)
    try:
        session.open()
        session.probe(topics, listen, probes)
    finally:
        session.close()
    return probes


class _Session:
    """One connection of a fresh paho client, driven by this thread."""

    def __init__(self, settings: MqttSettings, client_id: str, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._where = f"{settings.host}:{settings.port}"
        self._mqtt5 = settings.protocol == "5"
        self._client = new_client(settings, client_id)
        self._welcome: ReasonCode | None = None
        self._granted: dict[int, Sequence[ReasonCode]] = {}
        self._answers: dict[int, ReasonCode] = {}
        self._came: dict[str, bytes] = {}
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message

    def open(self) -> None:
        """Connect; raises DeliveryError with what to do."""
        settings, client = self._settings, self._client
        identify(client, settings)
        client.connect_timeout = self._timeout_s
        try:
            client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
        except (OSError, ValueError) as error:
            raise DeliveryError(f"no connection: {_words(error)}", where=self._where, hint=_hint(error)) from error
        self._until(lambda: self._welcome is not None)
        if self._welcome is None:
            tls = "" if settings.tls else ", or speaks TLS only (then an [mqtt.tls] table is missing)"
            raise DeliveryError(
                "the broker does not answer CONNECT", where=self._where, hint=f"it hangs, is no MQTT broker{tls}"
            )
        if self._welcome.is_failure:
            raise DeliveryError(
                f"refused by the broker: {self._welcome}", where=self._where, hint=_refusal_hint(str(self._welcome))
            )

    def probe(self, topics: Sequence[str], listen: Sequence[str], probes: Probes) -> None:
        """Subscribe, publish, wait, and note into `probes` what came of it."""
        asked = {self._subscribe(topic): topic for topic in (*topics, *listen)}
        self._until(lambda: len(self._granted) == len(asked))
        for mid, topic in asked.items():
            codes = self._granted.get(mid, ())
            if topic in listen and (not codes or codes[0].value >= _REFUSED):
                probes.unheard[topic] = str(codes[0]) if codes else "no answer"
        mark = f'{{"schema_version": 1, "probe": "{uuid.uuid4()}"}}'.encode()
        sent = {self._client.publish(topic, mark, qos=1).mid: topic for topic in topics}
        self._until(lambda: len(self._answers) == len(sent))
        if not self._mqtt5:
            self._until(lambda: all(self._came.get(topic) == mark for topic in topics))
        for mid, topic in sent.items():
            code = self._answers.get(mid)
            if self._came.get(topic) == mark or (self._mqtt5 and code is not None and not code.is_failure):
                probes.arrived.add(topic)
            elif code is not None and code.is_failure:
                probes.refused[topic] = str(code)
            else:
                probes.silent.add(topic)

    def close(self) -> None:
        """Say goodbye, if there is anybody."""
        self._client.disconnect()
        self._client.loop(_STEP_S)

    def _subscribe(self, topic: str) -> int:
        return self._client.subscribe(topic, qos=1)[1] or 0  # 0: not sent

    def _until(self, done: Callable[[], bool]) -> None:
        end_s = time.monotonic() + self._timeout_s
        while not done() and time.monotonic() < end_s:
            if self._client.loop(_STEP_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    def _on_connect(self, _client: Client, _data: object, _flags: object, code: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - paho's
        self._welcome = code

    def _on_subscribe(
        self,
        _client: Client,
        _data: object,
        mid: int,
        codes: Sequence[ReasonCode],
        _properties: Any,  # noqa: ANN401 - paho's
    ) -> None:
        self._granted[mid] = codes

    def _on_publish(self, _client: Client, _data: object, mid: int, code: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - paho's
        self._answers[mid] = code

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._came[message.topic] = bytes(message.payload)


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


def _refusal_hint(words: str) -> str:
    if "protocol" in words.lower():
        return "set mqtt.protocol to the version that the broker speaks"
    if "identifier" in words.lower():
        return "set mqtt.client_id to one that the broker takes"
    return "check mqtt.username and its password, and what the broker allows this user"
