"""Probes: does what this node sends arrive? Asked over a connection of its own, beside the publisher's."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from edge_monitor.deliver.connection import REFUSED, Connection
from edge_monitor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_monitor.config.settings import MqttSettings

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
    probes, came = Probes(), dict[str, bytes]()

    def note(topic: str, payload: bytes, _retained: bool) -> None:
        came[topic] = payload

    subscriptions = {topic: partial(note, topic) for topic in (*topics, *listen)}
    connection = Connection(settings, client_id, subscriptions=subscriptions)
    try:
        _open(connection, settings, timeout_s)
        _until(connection, timeout_s, lambda: connection.unheard is not None)
        unheard = dict.fromkeys(listen, "no answer") if connection.unheard is None else connection.unheard
        probes.unheard = {topic: words for topic, words in unheard.items() if topic in listen}
        mark = f'{{"schema_version": 1, "probe": "{uuid.uuid4()}"}}'.encode()
        sent = {topic: connection.publish(topic, mark, qos=1) for topic in topics}
        answers: dict[int, str | None] = {}

        def answered() -> bool:
            answers.update(connection.take_acknowledged())
            return len(answers) == len(sent)

        _until(connection, timeout_s, answered)
        if settings.protocol != "5":
            _until(connection, timeout_s, lambda: all(came.get(topic) == mark for topic in topics))
    finally:
        connection.close(clean=True)
    for topic, mid in sent.items():
        refusal = answers.get(mid, "") if mid is not None else "too large"
        if came.get(topic) == mark or (settings.protocol == "5" and refusal is None):
            probes.arrived.add(topic)
        elif refusal:
            probes.refused[topic] = refusal
        else:
            probes.silent.add(topic)
    return probes


def _open(connection: Connection, settings: MqttSettings, timeout_s: float) -> None:
    """Connect; raises DeliveryError with what to do."""
    connection.open(timeout_s)
    _until(connection, timeout_s, lambda: connection.ready)
    where = f"{settings.host}:{settings.port}"
    if (connection.lost or "").startswith(REFUSED):
        raise DeliveryError(f"{connection.lost}", where=where, hint=_refusal_hint(f"{connection.lost}"))
    if not connection.ready:
        tls = "" if settings.tls else ", or speaks TLS only (then an [mqtt.tls] table is missing)"
        hint = f"it hangs, is no MQTT broker{tls}"
        raise DeliveryError("the broker does not answer CONNECT", where=where, hint=hint)


def _until(connection: Connection, timeout_s: float, done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + timeout_s
    while not done() and connection.lost is None and time.monotonic() < end_s:
        connection.wait(_STEP_S)


def _refusal_hint(words: str) -> str:
    if "protocol" in words.lower():
        return "set mqtt.protocol to the version that the broker speaks"
    if "identifier" in words.lower():
        return "set mqtt.client_id to one that the broker takes"
    return "check mqtt.username and its password, and what the broker allows this user"
