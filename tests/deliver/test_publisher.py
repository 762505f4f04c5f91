"""The publisher against a real broker that behaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog

from tests.broker import Broker, Subscriber, wait_until
from tests.deliver.node import TOPICS, Node

REPOSITORY = Path(__file__).parents[2]
ALERT = TOPICS.alert("pump-3")
STATE = TOPICS.state("pump-3")


def test_a_committed_alert_is_delivered_and_its_row_deleted(tmp_path: Path, broker: Broker) -> None:
    """The subscriber gets the committed bytes with QoS 1, not retained, and the outbox is empty afterwards."""
    with Subscriber(broker.port) as plant, Node(tmp_path, broker.port) as node:
        node.commit(("pump-3", 0, b'{"seq":0}'))
        (message,) = plant.wait_for(ALERT)
        assert (message.payload, message.qos, message.retain) == (b'{"seq":0}', 1, False)
        wait_until(lambda: node.counts().sent == 1)
        assert (node.counts().due, node.counts().bytes, node.counts().parked) == (0, 0, 0)


def test_mqtt_3_1_1_delivers_too(tmp_path: Path, broker: Broker) -> None:
    """A broker of the older protocol gets the same bytes."""
    with Subscriber(broker.port) as plant, Node(tmp_path, broker.port, protocol="3.1.1") as node:
        node.commit(("pump-3", 0, b'{"seq":0}'))
        assert plant.wait_for(ALERT)[0].payload == b'{"seq":0}'
        wait_until(lambda: node.counts().sent == 1)


def test_lateness_is_a_user_property(tmp_path: Path, broker: Broker) -> None:
    """An alert committed 300 ms before the publisher starts says so beside its unchanged bytes."""
    node = Node(tmp_path, broker.port)
    node.commit(("pump-3", 0, b'{"seq":0}'))
    time.sleep(0.3)
    with Subscriber(broker.port) as plant, node:
        late_ms = int(plant.wait_for(ALERT)[0].properties["late_ms"])
        assert 300 <= late_ms < 5000


def test_only_the_newest_state_is_retained(tmp_path: Path, broker: Broker) -> None:
    """Whoever subscribes later gets one retained state, the last one set, also when it was set without connection."""
    node = Node(tmp_path, broker.port)
    for number in range(5):
        node.publisher.set_state("pump-3", b'{"n":%d}' % number)
    with node:
        wait_until(lambda: node.publisher.health().connected)
        with Subscriber(broker.port, STATE) as plant:
            assert plant.wait_for(STATE)[0].payload == b'{"n":4}'
        node.publisher.set_state("pump-3", b'{"n":5}')
        with Subscriber(broker.port, STATE) as plant:
            wait_until(lambda: plant.messages and plant.messages[-1].payload == b'{"n":5}')


def test_the_newest_trend_is_retained_and_sent_at_most_once(tmp_path: Path, broker: Broker) -> None:
    """QoS 0, for whoever subscribes later too, and again on each connection; a stop does not wait for an answer."""
    topic = TOPICS.trend("pump-3")
    with Subscriber(broker.port, topic) as plant, Node(tmp_path, broker.port) as node:
        node.publisher.set_trend("pump-3", b'{"n":1}')
        assert [(each.payload, each.qos) for each in plant.wait_for(topic)] == [(b'{"n":1}', 0)]
        node.publisher.set_trend("pump-3", b'{"n":2}')
        wait_until(lambda: plant.messages[-1].payload == b'{"n":2}')
        with Subscriber(broker.port, topic) as late:
            assert late.wait_for(topic)[0].payload == b'{"n":2}'
        assert node.publisher.stop()


def test_a_machine_is_cleared_once_both_its_retained_topics_are(tmp_path: Path, broker: Broker) -> None:
    """Its state and its trend go; who asks to be told is told once."""
    both = f"{TOPICS.base}/pump-3/+"
    with Node(tmp_path, broker.port) as node, Subscriber(broker.port, both) as plant:
        node.publisher.set_state("pump-3", b"{}")
        node.publisher.set_trend("pump-3", b"{}")
        wait_until(lambda: len(plant.messages) == 2)
    cleared: list[str] = []
    with Node(tmp_path, broker.port, on_cleared=cleared.append) as node:
        node.publisher.clear_retained("pump-3")
        wait_until(lambda: cleared == ["pump-3"])
    with Subscriber(broker.port, both) as late, Node(tmp_path, broker.port) as node:
        wait_until(lambda: node.publisher.health().connected)
        assert late.messages == []
    assert cleared == ["pump-3"]


def test_status_says_online_then_stopped(tmp_path: Path, broker: Broker) -> None:
    """The retained status is `online` after the connection and `stopped` after a clean stop, without a Last Will."""
    with Subscriber(broker.port) as plant, Node(tmp_path, broker.port) as node:
        assert json.loads(plant.wait_for(TOPICS.status)[0].payload)["online"] == 1
        began = time.monotonic()
        assert node.publisher.stop()
        assert time.monotonic() - began < 1.0
        messages = plant.wait_for(TOPICS.status, 2)
        time.sleep(0.1)
        assert [json.loads(message.payload)["state"] for message in messages] == ["online", "stopped"]
        assert all(message.retain for message in messages)


def test_a_stop_drains_what_was_just_committed(tmp_path: Path, broker: Broker) -> None:
    """Fifty alerts and a state handed over right before the stop still go out."""
    with Subscriber(broker.port) as plant, Node(tmp_path, broker.port) as node:
        wait_until(lambda: node.publisher.health().connected)
        node.commit(*(("pump-3", seq, b'{"seq":%d}' % seq) for seq in range(50)))
        node.publisher.set_state("pump-3", b'{"state":"alarm"}')
        assert node.publisher.stop()
        assert len(plant.wait_for(ALERT, 50)) == 50
        assert len(plant.wait_for(STATE)) == 1
        assert node.counts().due == 0


def test_last_will_is_published_when_the_process_is_killed(tmp_path: Path, broker: Broker) -> None:
    """SIGKILL of the whole process turns the retained status to `offline`."""
    with Subscriber(broker.port) as plant:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.deliver.node", str(tmp_path), str(broker.port)], cwd=REPOSITORY
        )
        try:
            plant.wait_for(TOPICS.status)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        will = json.loads(plant.wait_for(TOPICS.status, 2)[1].payload)
        assert (will["state"], will["online"], will["reason"]) == ("offline", 0, "connection-lost")


def test_scores_are_rate_limited_per_machine_and_never_queued(tmp_path: Path, broker: Broker) -> None:
    """Of twenty scores within the interval one goes out; those given before the connection never do."""
    node = Node(tmp_path, broker.port, score_interval_s=60.0)
    node.publisher.publish_score("pump-3", b'{"n":-1}')
    with Subscriber(broker.port) as plant, node:
        wait_until(lambda: node.publisher.health().connected)
        for number in range(20):
            node.publisher.publish_score("pump-3", b'{"n":%d}' % number)
            node.publisher.publish_score("fan-1", b'{"n":%d}' % number)
        assert plant.wait_for(TOPICS.score("pump-3"))[0].qos == 0
        plant.wait_for(TOPICS.score("fan-1"))
        node.publisher.stop()
        assert [message.payload for message in plant.on(TOPICS.score("pump-3"))] == [b'{"n":0}']
        health = node.publisher.health()
        assert (health.scores_sent, health.scores_skipped) == (2, 39)


def test_an_alert_that_could_not_be_committed_is_sent_from_memory(tmp_path: Path, broker: Broker) -> None:
    """With a failed disk the plant is told all the same, and the outbox is left alone."""
    with Subscriber(broker.port) as plant, Node(tmp_path, broker.port) as node:
        node.publisher.publish_volatile(ALERT, b'{"persisted":0}', alarm_id="a", seq=0, created_ms=0)
        assert plant.wait_for(ALERT)[0].payload == b'{"persisted":0}'
        wait_until(lambda: node.publisher.health().sent == 1)
        assert node.counts().sent == 0


def test_credentials_from_a_file_open_a_closed_broker(tmp_path: Path) -> None:
    """User name and password file are sent; a wrong password is an error that never shows the secret."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "edge", "open-sesame"], check=True)
    secret = tmp_path / "secret"
    secret.write_text("open-sesame\n")
    with Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker:
        with Node(tmp_path, broker.port, username="edge", password_file=secret) as node:
            wait_until(lambda: node.publisher.health().connected)
        with (
            structlog.testing.capture_logs() as logs,
            Node(tmp_path, broker.port, username="edge", password="not-sesame") as node,  # noqa: S106 - a wrong one
        ):
            wait_until(lambda: logs)
            assert "sesame" not in repr(logs) + repr(node.publisher.health()) + repr(vars(node.publisher))
            assert node.publisher.health().last_error == "refused by the broker: Not authorized"


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_tls_verifies_the_broker(tmp_path: Path) -> None:
    """With the broker's CA the connection is made and delivers; with the system's CAs it is refused."""
    key, cert = tmp_path / "broker.key", tmp_path / "broker.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=broker",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
    )
    with Broker(tmp_path, f"certfile {cert}", f"keyfile {key}") as broker:
        with Node(tmp_path, broker.port, tls={"ca_file": cert}) as node:
            node.commit(*(("pump-3", seq, b"%d" % seq) for seq in range(100)))
            wait_until(lambda: node.counts().sent == 100)
        with Node(tmp_path, broker.port, tls={}) as node:
            wait_until(lambda: "certificate is not accepted" in (node.publisher.health().last_error or ""))
            assert node.publisher.health().connections == 0
