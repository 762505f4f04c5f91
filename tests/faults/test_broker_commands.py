"""What the plant may ask over MQTT, what it may not, and what a hostile one sends: against a daemon and a mosquitto."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_monitor.deliver.requests import read_request
from edge_monitor.deliver.schemas import request_schema
from edge_monitor.errors import ControlError
from tests.broker import wait_until
from tests.faults.oracle import BASE, Plant
from tests.runtime.test_end_to_end import check_contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakePlant = Callable[..., Plant]

REPLY = f"{BASE}/command/reply"
NOW_MS = 1_769_846_400_000


def request(request_id: str, *, machine: str = "pump", now_ms: int | None = None, **more: object) -> dict[str, object]:
    """Return a request issued now and good for a minute."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return {
        "request_id": request_id,
        "machine": machine,
        "issued_at_ms": now_ms,
        "expires_at_ms": now_ms + 60_000,
    } | more


@dataclass
class Operator:
    """Somebody in the plant who asks, and reads the answers."""

    plant: Plant
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        """Connect."""
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.connect("127.0.0.1", self.plant.broker.port)
        self.client.loop_start()

    def send(self, command: str, payload: bytes | dict[str, object], *, retain: bool = False) -> None:
        """Publish, and return when the broker has it."""
        encoded = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.client.publish(f"{BASE}/command/{command}", encoded, qos=1, retain=retain).wait_for_publish(10.0)

    def replies(self) -> list[dict[str, Any]]:
        """Return the answers so far, each valid by its schema."""
        messages = self.plant.scada.on(REPLY)
        check_contract(messages)
        return [json.loads(message.payload) for message in messages]

    def answer(self, request_id: str, result: str, seconds: float = 20.0) -> dict[str, Any]:
        """Return the answer to a request, once there is one with this result."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.replies() if (each.get("request_id"), each["result"]) == (request_id, result)]

        wait_until(found, seconds, f"{result} to {request_id} among {self.replies()}")
        return found()[0]


@pytest.fixture
def operator(plant: MakePlant) -> Iterator[Operator]:
    """Yield an operator of a plant whose node obeys all commands, and is connected."""
    running = plant(mqtt='commands = ["inhibit", "resume", "learn"]\n')
    asks = Operator(running)
    wait_until(lambda: running.scada.on(f"{BASE}/status"), 60.0, "the node at the broker")
    time.sleep(0.5)  # its subscriptions follow its status
    yield asks
    asks.client.disconnect()
    asks.client.loop_stop()


def test_commands_over_mqtt_are_obeyed_and_answered(operator: Operator) -> None:
    """Inhibit, resume and learn do what their commands do, once each, and say so; then alarms go on as promised."""
    inhibit = request("i-1", duration_s=3600)
    operator.send("inhibit", inhibit)
    assert operator.answer("i-1", "done")["ok"] == 1
    operator.plant.wait_for_state("inhibited")
    [(until_ms,)] = operator.plant.product.rows("SELECT until_ms FROM inhibitions")
    operator.send("inhibit", inhibit)  # a broker may hand on a message twice
    wait_until(lambda: len(operator.replies()) == 2)
    assert operator.replies()[0] == operator.replies()[1]
    assert operator.plant.product.rows("SELECT until_ms FROM inhibitions") == [(until_ms,)]
    operator.send("learn", request("l-1", duration_s=20))
    assert operator.answer("l-1", "started")["ok"] == 1
    assert "generation 2 is active" in operator.answer("l-1", "done")["text"]
    operator.send("resume", request("r-1"))
    assert operator.answer("r-1", "done")["text"] == "pump: alarms are raised again"
    assert operator.plant.product.rows("SELECT * FROM inhibitions") == []


def test_hostile_commands_change_nothing(operator: Operator) -> None:
    """A megabyte, bytes that are no text, wrong types, paths, code, the past, the future: refused, and all goes on."""
    now_ms = time.time_ns() // 1_000_000
    operator.send("inhibit", b"x" * 1_000_000)
    operator.send("resume", request("retained", duration_s=60), retain=True)
    for payload in (
        b"\xff\xfe{}",
        b"[" * 4000,
        b'{"request_id": "' + b"y" * 5000 + b'"}',
        request("path", machine="../../etc/passwd", duration_s=60),
        request("unknown-machine", machine="fan", duration_s=60),
        request("type", duration_s="60"),
        request("long", duration_s=86_401),
        request("field", duration_s=60, execute="reboot"),
        request("past", duration_s=60, now_ms=now_ms - 120_000),
        request("future", duration_s=60, now_ms=now_ms + 120_000),
    ):
        operator.send("inhibit", payload)
    wait_until(lambda: len(operator.replies()) == 10, 20.0, "ten answers")
    told = {each.get("request_id"): (each["ok"], each["result"], each["text"]) for each in operator.replies()}
    assert told == {
        None: (0, "refused", "a request has at most 4096 bytes"),
        "path": (0, "refused", "machine: String should match pattern '^[A-Za-z0-9_-]{1,64}$'"),
        "unknown-machine": (0, "refused", "no machine is named 'fan'"),
        "type": (0, "refused", "duration_s: Input should be a valid number"),
        "long": (0, "refused", "duration_s: Input should be less than or equal to 86400"),
        "field": (0, "refused", "it has a field that this command does not know"),
        "past": (0, "refused", "the request has expired"),
        "future": (0, "refused", "the request comes from the future: the clocks differ"),
    }
    assert operator.plant.product.rows("SELECT * FROM inhibitions") == []
    operator.plant.check()


def test_a_flood_of_commands_is_cut_short(operator: Operator) -> None:
    """Of five hundred requests at once ten are answered, the others dropped, and alarms go out all the while."""
    for number in range(500):
        operator.send("resume", request(f"flood-{number}"))
    operator.plant.check_probe()
    assert 10 <= len(operator.replies()) <= 20
    operator.plant.check()


def test_commands_are_off_unless_allowed(plant: MakePlant) -> None:
    """A node obeys only what its configuration names: nothing by default, not even a reply."""
    running = plant(mqtt='commands = ["resume"]\n')
    running.wait_for_alarms(1)
    asks = Operator(running)
    asks.send("inhibit", request("i", duration_s=60))
    asks.send("resume", request("r"))
    asks.answer("r", "done")
    assert len(asks.replies()) == 1
    assert running.product.rows("SELECT * FROM inhibitions") == []
    asks.client.disconnect()
    asks.client.loop_stop()


@pytest.mark.parametrize("command", ["inhibit", "resume", "learn"])
def test_the_schema_of_a_command_takes_what_the_node_takes(command: str) -> None:
    """A request by the published schema is read; one with a field more is refused by both."""
    more: dict[str, Any] = {} if command == "resume" else {"duration_s": 60}
    good = request("a", now_ms=NOW_MS, **more)
    jsonschema.validate(good, request_schema(command))
    assert read_request(command, json.dumps(good).encode(), now_ms=NOW_MS).machine == "pump"
    bad = good | {"execute": "reboot"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, request_schema(command))
    with pytest.raises(ControlError, match="does not know"):
        read_request(command, json.dumps(bad).encode(), now_ms=NOW_MS)


def test_a_request_is_good_until_it_expires() -> None:
    """Its last millisecond counts, the next does not; nor does one that would hold for more than a day."""
    good = request("a", now_ms=NOW_MS)
    assert read_request("resume", json.dumps(good).encode(), now_ms=NOW_MS + 59_999).request_id == "a"
    with pytest.raises(ControlError, match="expired"):
        read_request("resume", json.dumps(good).encode(), now_ms=NOW_MS + 60_000)
    endless = good | {"expires_at_ms": NOW_MS + 86_400_001}
    with pytest.raises(ControlError, match="within 24 hours"):
        read_request("resume", json.dumps(endless).encode(), now_ms=NOW_MS)
