"""The publisher against a broker that is down, killed, frozen or refusing: promise P2, fault by fault."""

from __future__ import annotations

import json
import random
import socket
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest
import structlog

from edge_monitor.deliver.health import Timing
from tests.broker import Broker, Subscriber, free_port, wait_until
from tests.deliver.node import TOPICS, Node

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.deliver.outbox import OutboxCounts

ALERT = TOPICS.alert("pump-3")
OTHER = TOPICS.alert("fan-1")


def test_broker_down_at_boot_is_not_fatal(tmp_path: Path) -> None:
    """An alert committed while there is no broker is delivered once there is one."""
    port = free_port()
    with Node(tmp_path, port) as node:
        node.commit(("pump-3", 0, b'{"seq":0}'))
        wait_until(lambda: node.publisher.health().last_error is not None)
        assert node.publisher.health().connected is False
        wait_until(lambda: node.publisher.health().outbox.due == 1)
        with Broker(tmp_path, port=port), Subscriber(port) as plant:
            # The subscriber may come after the delivery; the acknowledgement is what counts.
            wait_until(lambda: node.counts().sent == 1)
            assert node.counts().due == 0
            plant.wait_for(TOPICS.status)


def test_broker_killed_mid_stream_loses_and_reorders_nothing(tmp_path: Path, broker: Broker) -> None:
    """Two thousand alerts of two machines over three broker crashes are all acknowledged; what arrives is in order."""
    sent = {seq: b'{"seq":%d,"pad":"%s"}' % (seq, b"x" * 200) for seq in range(1000)}
    received: list[tuple[str, bytes]] = []
    crashes: list[int] = []
    with Node(tmp_path, broker.port) as node:
        with Subscriber(broker.port) as plant:
            for first in range(0, 1000, 10):
                batch = [
                    (machine, seq, sent[seq]) for seq in range(first, first + 10) for machine in ("pump-3", "fan-1")
                ]
                node.commit(*batch)
                if first in {200, 400, 600}:
                    wait_until(lambda: node.publisher.health().sent > 50)
                    broker.kill()
                    received += [(message.topic, message.payload) for message in plant.messages]
                    plant.messages.clear()
                    broker.start()
                    wait_until(lambda: plant.subscriptions == len(crashes) + 2)
                    crashes.append(first)
            wait_until(lambda: node.counts().due == 0, 20.0)
            received += [(message.topic, message.payload) for message in plant.messages]
        assert (node.counts().sent, node.counts().parked, node.counts().dropped) == (2000, 0, 0)
    for topic in (ALERT, OTHER):
        payloads = [payload for on, payload in received if on == topic]
        numbers = [json.loads(payload)["seq"] for payload in payloads]
        assert all(payload == sent[number] for number, payload in zip(numbers, payloads, strict=True))
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts)


def test_every_alert_arrives_at_a_subscriber_with_a_durable_session(tmp_path: Path) -> None:
    """Across a broker restart with a persistent subscriber session all of 300 alerts arrive."""
    with (
        Broker(tmp_path, "persistence true", f"persistence_location {tmp_path}/", "max_queued_messages 0") as broker,
        Subscriber(broker.port, session="scada") as plant,
        Node(tmp_path, broker.port) as node,
    ):
        node.commit(*(("pump-3", seq, b"%d" % seq) for seq in range(150)))
        plant.wait_for(ALERT, 20)
        broker.stop()
        node.commit(*(("pump-3", seq, b"%d" % seq) for seq in range(150, 300)))
        broker.start()
        wait_until(lambda: {int(message.payload) for message in plant.on(ALERT)} == set(range(300)), 20.0)
        firsts = list(dict.fromkeys(int(message.payload) for message in plant.on(ALERT)))
        assert firsts == list(range(300))


def test_a_denied_alert_is_parked_and_later_ones_flow(tmp_path: Path) -> None:
    """An ACL that denies one topic parks its row with the broker's reason; the other machine's alerts go out."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {OTHER}\ntopic readwrite {TOPICS.status}\n")
    with (
        Broker(tmp_path, f"acl_file {acl}") as broker,
        Subscriber(broker.port, OTHER) as plant,
        Node(tmp_path, broker.port) as node,
    ):
        node.commit(("pump-3", 0, b"{}"), ("fan-1", 0, b'{"a":1}'), ("fan-1", 1, b'{"a":2}'))
        assert [message.payload for message in plant.wait_for(OTHER, 2)] == [b'{"a":1}', b'{"a":2}']
        wait_until(lambda: node.counts().due == 0)
        assert node.parked() == [(ALERT, 0, "refused by the broker: Not authorized")]
        assert (node.counts().parked, node.counts().sent, node.counts().held) == (1, 2, 1)
        assert node.publisher.health().last_error == f"{ALERT}: refused by the broker: Not authorized"


def test_an_alert_too_large_for_the_broker_is_parked_before_it_is_sent(tmp_path: Path) -> None:
    """The broker's Maximum Packet Size is respected; the next alert of the same machine flows."""
    with (
        Broker(tmp_path, "max_packet_size 2000") as broker,
        Subscriber(broker.port) as plant,
        Node(tmp_path, broker.port) as node,
    ):
        node.commit(("pump-3", 0, b"x" * 3000), ("pump-3", 1, b"{}"))
        assert plant.wait_for(ALERT)[0].payload == b"{}"
        wait_until(lambda: node.counts().due == 0)
        assert node.parked() == [(ALERT, 0, "3000 bytes are more than the broker accepts")]
        assert node.publisher.health().connections == 1


def test_a_message_that_makes_the_broker_hang_up_is_found_and_parked(tmp_path: Path) -> None:
    """MQTT 3.1.1 has no reason codes: the broker drops the connection on the same message until it is set aside."""
    with (
        Broker(tmp_path, "max_packet_size 2000") as broker,
        Subscriber(broker.port) as plant,
        Node(tmp_path, broker.port, protocol="3.1.1") as node,
    ):
        node.commit(("pump-3", 0, b"x" * 3000), ("pump-3", 1, b"{}"), ("fan-1", 0, b"{}"))
        plant.wait_for(OTHER)
        assert plant.wait_for(ALERT, seconds=20.0)[0].payload == b"{}"
        wait_until(lambda: node.counts().due == 0)
        assert node.parked() == [(ALERT, 0, "the broker hung up on it 5 times")]


def test_a_frozen_broker_is_noticed_and_the_same_bytes_are_sent_again(tmp_path: Path, broker: Broker) -> None:
    """A half-open connection, where no PUBACK ever comes, ends after the timeout; nothing is lost."""
    with Subscriber(broker.port) as plant, Node(tmp_path, broker.port) as node:
        wait_until(lambda: node.publisher.health().connected)
        broker.freeze()
        node.commit(("pump-3", 0, b'{"seq":0}'))
        wait_until(lambda: node.publisher.health().last_error is not None)
        assert node.publisher.health().last_error == "no acknowledgement within 1 s"
        assert node.counts().due == 1
        broker.thaw()
        wait_until(lambda: node.counts().sent == 1)
        assert {message.payload for message in plant.wait_for(ALERT)} == {b'{"seq":0}'}


def test_stop_ends_within_three_seconds_while_the_broker_is_frozen(tmp_path: Path, broker: Broker) -> None:
    """Neither the drain nor the goodbye waits for a broker that hangs; the alert stays in the outbox."""
    with Node(tmp_path, broker.port, timing=Timing()) as node:
        wait_until(lambda: node.publisher.health().connected)
        broker.freeze()
        node.commit(("pump-3", 0, b"{}"))
        began = time.monotonic()
        assert node.publisher.stop()
        assert time.monotonic() - began < 3.0
        assert node.counts().due == 1
        broker.thaw()


def test_alerts_survive_the_death_of_the_node(tmp_path: Path) -> None:
    """Rows that one node could not send are sent by the next one over the same database, with the same bytes."""
    port = free_port()
    with Node(tmp_path, port) as node:
        node.commit(*(("pump-3", seq, b"%d" % seq) for seq in range(3)))
    with Broker(tmp_path, port=port), Subscriber(port) as plant, Node(tmp_path, port) as node:
        assert [message.payload for message in plant.wait_for(ALERT, 3)] == [b"0", b"1", b"2"]
        wait_until(lambda: node.counts().due == 0)


def test_states_return_after_a_broker_lost_its_memory(tmp_path: Path, broker: Broker) -> None:
    """A restarted broker without persistence gets status and the newest states again, unasked."""
    with Node(tmp_path, broker.port) as node:
        node.publisher.set_state("pump-3", b'{"n":1}')
        node.publisher.set_state("pump-3", b'{"n":2}')
        wait_until(lambda: node.publisher.health().connected)
        broker.restart()
        with Subscriber(broker.port) as plant:
            assert plant.wait_for(TOPICS.state("pump-3"))[0].payload == b'{"n":2}'
            assert json.loads(plant.wait_for(TOPICS.status)[-1].payload)["online"] == 1


def test_the_cap_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    """A month without broker: the newest hundred wait, five are counted as dropped, in the published counts too."""
    port = free_port()
    with Node(tmp_path, port, max_rows=100) as node:
        node.commit(*(("pump-3", seq, b"%d" % seq) for seq in range(105)))
        wait_until(lambda: node.publisher.health().outbox.dropped == 5)
        assert node.counts().due == 100
    with Broker(tmp_path, port=port), Subscriber(port) as plant, Node(tmp_path, port) as node:
        assert plant.wait_for(ALERT)[0].payload == b"5"
        wait_until(lambda: node.counts().sent == 100)


def test_reconnections_back_off(tmp_path: Path) -> None:
    """A missing broker is tried less and less often: each wait doubles up to the cap, jittered down to its half."""
    began = time.monotonic()
    with (
        structlog.testing.capture_logs() as logs,
        Node(tmp_path, free_port(), timing=Timing(backoff_min_s=0.1, backoff_max_s=0.5)) as node,
    ):
        wait_until(lambda: len(logs) >= 6)
        assert node.publisher.health().connections == 0
    waits = [entry["retry_s"] for entry in logs]
    assert all(entry["event"] == "deliver.disconnected" for entry in logs)
    for wait_s, ceiling_s in zip(waits, [0.1, 0.2, 0.4, 0.5, 0.5, 0.5], strict=False):
        assert ceiling_s / 2 - 0.01 <= wait_s <= ceiling_s + 0.01
    assert time.monotonic() - began >= 0.8


def test_a_server_that_is_no_broker_is_survived(tmp_path: Path) -> None:
    """Garbage in place of CONNACK ends that connection only; the alert is delivered when a broker is there."""
    garbage = random.Random(7)  # noqa: S311 - seeded noise
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])

        def answer() -> None:
            for _ in range(12):
                client, _address = server.accept()
                with client:
                    client.sendall(bytes([0x20]) + garbage.randbytes(60))
                    client.recv(4096)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        node = Node(tmp_path, port)
        node.commit(("pump-3", 0, b"{}"))
        node.publisher.start()
        thread.join(20)
        assert not thread.is_alive()
    health = node.publisher.health()
    assert (health.alive, health.connected) == (True, False)
    with Broker(tmp_path, port=port):
        wait_until(lambda: node.counts().sent == 1)
        node.close()


@pytest.mark.parametrize(
    ("last_words", "reason"),
    [
        (b"\xe0\x02\x8e\x00", "session taken over: does another node use the same client id?"),
        (b"", "the broker closed the connection"),
    ],
)
def test_why_a_connection_ended_is_told(tmp_path: Path, last_words: bytes, reason: str) -> None:
    """A broker's DISCONNECT with reason code 0x8E after its CONNACK, and a connection that is merely closed."""
    with socket.create_server(("127.0.0.1", 0)) as server, Node(tmp_path, int(server.getsockname()[1])) as node:
        client, _address = server.accept()
        with client:
            client.recv(4096)
            client.sendall(b"\x20\x03\x00\x00\x00")
            wait_until(lambda: node.publisher.health().connected)
            client.sendall(last_words)
            client.shutdown(socket.SHUT_WR)
            wait_until(lambda: node.publisher.health().last_error is not None)
        assert node.publisher.health().last_error == reason


def test_a_broker_that_was_down_is_no_second_node(tmp_path: Path) -> None:
    """Refused for a while, then closed once: only what is closed again and again may be another node's doing."""
    port = free_port()
    with structlog.testing.capture_logs() as lines, Node(tmp_path, port) as node:
        wait_until(lambda: [line["event"] for line in lines].count("deliver.disconnected") >= 5)
        with socket.create_server(("127.0.0.1", port)) as server:
            client, _address = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b"\x20\x03\x00\x00\x00")
                wait_until(lambda: node.publisher.health().connected)
            wait_until(lambda: str(node.publisher.health().last_error).startswith("the broker closed"))
            assert node.publisher.health().last_error == "the broker closed the connection"


def test_a_killed_broker_closed_the_connection(tmp_path: Path, broker: Broker) -> None:
    """The line says so in words, with either protocol."""
    for protocol in ("5", "3.1.1"):
        folder = tmp_path / protocol
        folder.mkdir()
        with structlog.testing.capture_logs() as lines, Node(folder, broker.port, protocol=protocol) as node:
            wait_until(lambda: node.publisher.health().connected)
            broker.restart()
            lost = "deliver.disconnected"
            wait_until(lambda: any(line["event"] == lost for line in lines))  # noqa: B023 - as above
        [first, *_] = [line["reason"] for line in lines if line["event"] == lost]  # others may follow until it is back
        assert first.startswith("the broker closed the connection")


def test_an_unreadable_outbox_is_survived(tmp_path: Path, broker: Broker) -> None:
    """A database error is reported and tried again; states still flow, and the alert follows when it can be read."""
    with Subscriber(broker.port) as plant, Node(tmp_path, broker.port) as node:
        wait_until(lambda: node.publisher.health().connected)
        with sqlite3.connect(tmp_path / "edge-monitor.db") as connection:
            connection.execute("ALTER TABLE outbox RENAME TO elsewhere")
        node.publisher.wake()
        wait_until(lambda: node.publisher.health().last_error == "outbox: no such table: outbox")
        node.publisher.set_state("pump-3", b"{}")
        plant.wait_for(TOPICS.state("pump-3"))
        connection.execute("ALTER TABLE elsewhere RENAME TO outbox")
        connection.close()
        node.commit(("pump-3", 0, b'{"seq":0}'))
        assert plant.wait_for(ALERT)[0].payload == b'{"seq":0}'


def test_a_publisher_that_hangs_can_be_told_from_one_without_a_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a broker the thread goes on turning; in a read that does not end it stands still."""
    with Node(tmp_path, free_port()) as node:
        began_s = node.publisher.health().turned_s
        wait_until(lambda: node.publisher.health().turned_s > began_s + 2.0)
        entered, ended = threading.Event(), threading.Event()
        counts = node.counts

        def hang() -> OutboxCounts:
            entered.set()
            ended.wait(10.0)
            return counts()

        monkeypatch.setattr(node, "counts", hang)
        assert entered.wait(10.0)
        stood_s = node.publisher.health().turned_s
        time.sleep(2.0)
        assert node.publisher.health().turned_s == stood_s
        ended.set()
        wait_until(lambda: node.publisher.health().turned_s > stood_s)
