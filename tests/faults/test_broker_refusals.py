"""A broker that refuses: certificates, passwords, permissions. Nothing is lost, and the repair needs no restart."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.broker import Broker, Subscriber, free_port, wait_until
from tests.deliver.node import TOPICS, Node
from tests.faults.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

ALERT = TOPICS.alert("pump-3")
OTHER = TOPICS.alert("fan-1")


def _error(node: Node) -> str:
    return node.publisher.health().last_error or ""


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("authority", "certificate verify failed: "),
        ("host", "certificate verify failed: IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("expired", "certificate verify failed: certificate has expired"),
    ],
)
def test_a_broker_with_a_wrong_certificate_gets_nothing(tmp_path: Path, fault: str, told: str) -> None:
    """Another authority, another host, an expired date: said in one line; delivered once the certificate is right."""
    authority = Authority(tmp_path)
    wrong = {
        "authority": lambda: Authority(tmp_path, "somebody-else").issue(),
        "host": lambda: authority.issue("broker.example"),
        "expired": lambda: authority.issue(days=-1),
    }[fault]()
    port = free_port()
    with Node(tmp_path, port, tls={"ca_file": str(authority.ca_file)}) as node:
        with Broker(tmp_path, *wrong.listener, port=port):
            node.commit(("pump-3", 0, b"{}"))
            wait_until(lambda: told in _error(node), 10.0, told)
            assert node.publisher.health().connections == 0
            assert node.counts().due == 1
        with Broker(tmp_path, *authority.issue().listener, port=port):
            wait_until(lambda: node.counts().sent == 1)


def test_a_wrong_password_is_told_and_a_changed_file_is_taken_up(tmp_path: Path) -> None:
    """The refusal is in the status and never the secret; the right password in the file is enough, without restart."""
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    passwords.write_text("edge:the right one\n")
    secret.write_text("the wrong one\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
    with (
        Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker,
        Node(tmp_path, broker.port, username="edge", password_file=str(secret)) as node,
    ):
        node.commit(("pump-3", 0, b"{}"))
        wait_until(lambda: _error(node))
        assert _error(node) == "refused by the broker: Not authorized"
        assert node.counts().due == 1
        secret.write_text("the right one\n")
        wait_until(lambda: node.counts().sent == 1)


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
                assert (first.reason, second.row.topic) == ("refused by the broker: Not authorized", OTHER)
                outbox.retry([first.row.id])
                outbox.discard([second.row.id])
            node.publisher.wake()
            assert plant.wait_for(ALERT)[0].payload == b"denied, then sent"
            wait_until(lambda: node.counts().sent == 1)
            counts = node.counts()
            assert (counts.due, counts.held, counts.bytes, counts.parked) == (0, 0, 0, 2)
            assert plant.on(OTHER) == []
