"""A broker that denies topics: what can be known of it, and what a person can do. See also test_broker_faults.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.broker import Broker, Subscriber, free_port, wait_until
from tests.deliver.node import TOPICS, Node

if TYPE_CHECKING:
    from pathlib import Path

ALERT = TOPICS.alert("pump-3")
OTHER = TOPICS.alert("fan-1")


def test_mqtt_3_1_1_cannot_say_that_an_alert_was_denied(tmp_path: Path) -> None:
    """Why MQTT 5 is the default: mosquitto acknowledges what its ACL denies, and the alert is gone unseen."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {OTHER}\ntopic readwrite {TOPICS.status}\n")
    with (
        Broker(tmp_path, f"acl_file {acl}") as broker,
        Subscriber(broker.port, "#") as plant,
        Node(tmp_path, broker.port, protocol="3.1.1") as node,
    ):
        node.commit(("pump-3", 0, b"{}"), ("fan-1", 0, b"{}"))
        plant.wait_for(OTHER)
        wait_until(lambda: node.counts().due == 0)
        assert (node.counts().sent, node.counts().parked) == (2, 0)
        assert plant.on(ALERT) == []


def test_a_denied_alert_is_sent_again_when_a_person_asks(tmp_path: Path) -> None:
    """Once the ACL is right, a parked row goes out with its bytes; one that is discarded is gone; both are counted."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {TOPICS.status}\n")
    port = free_port()
    with Node(tmp_path, port) as node:
        with Broker(tmp_path, f"acl_file {acl}", port=port):
            node.commit(("pump-3", 0, b"denied, then sent"), ("fan-1", 0, b"denied, then discarded"))
            wait_until(lambda: node.counts().parked == 2)
        with Broker(tmp_path, port=port), Subscriber(port, f"{TOPICS.base}/+/alert") as plant:
            wait_until(lambda: node.publisher.health().connected)
            with node.writing() as outbox:
                first, second = outbox.parked()
                assert (first.reason, second.topic) == ("refused by the broker: Not authorized", OTHER)
                outbox.retry([first.id])
                outbox.discard([second.id])
            node.publisher.wake()
            assert plant.wait_for(ALERT)[0].payload == b"denied, then sent"
            wait_until(lambda: node.counts().sent == 1)
            counts = node.counts()
            assert (counts.due, counts.held, counts.bytes, counts.parked) == (0, 0, 0, 2)
            assert plant.on(OTHER) == []
