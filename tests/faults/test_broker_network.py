"""A network that goes silent, slow or mad between a node and its broker: promise P2, seen by a plant."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from edge_monitor.deliver.health import Timing
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.store import database
from tests.broker import Broker, Subscriber, wait_until
from tests.deliver.node import TOPICS, Node
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path

ALERT = TOPICS.alert("pump-3")
BACKLOG = 20_000  # a week in which every machine of a hall alarms every half hour


def _numbers(plant: Subscriber) -> list[int]:
    return [int(message.payload) for message in plant.on(ALERT)]


def test_a_black_hole_under_an_alert_is_noticed_and_the_alert_arrives(tmp_path: Path) -> None:
    """Half-open: every packet vanishes, no connection ends. The timeout ends it; later alerts stay in order."""
    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port, ALERT) as plant,
        Proxy(broker.port) as proxy,
        Node(tmp_path, proxy.port) as node,
    ):
        node.commit(("pump-3", 0, b"0"))
        plant.wait_for(ALERT)
        wait_until(lambda: node.counts().due == 0)  # acknowledged as well
        proxy.hole = True
        node.commit(("pump-3", 1, b"1"), ("pump-3", 2, b"2"))
        wait_until(lambda: node.publisher.health().last_error is not None)
        assert node.publisher.health().last_error == "no acknowledgement within 1 s"
        assert node.counts().due == 2
        proxy.hole = False
        wait_until(lambda: node.counts().due == 0)
        assert list(dict.fromkeys(_numbers(plant))) == [0, 1, 2]


def test_a_connection_cut_again_and_again_repeats_but_keeps_the_order(tmp_path: Path) -> None:
    """Twenty cuts in the middle of three hundred alerts: each arrives at least once, first arrivals in order."""
    with (
        Broker(tmp_path) as broker,
        Subscriber(broker.port, ALERT) as plant,
        Proxy(broker.port) as proxy,
        Node(tmp_path, proxy.port) as node,
    ):
        for first in range(0, 300, 15):
            node.commit(*(("pump-3", seq, b"%d" % seq) for seq in range(first, first + 15)))
            time.sleep(0.03)
            proxy.cut()
        wait_until(lambda: node.counts().due == 0, 20.0)
        wait_until(lambda: set(_numbers(plant)) == set(range(300)))
        assert list(dict.fromkeys(_numbers(plant))) == list(range(300))
        assert node.counts().parked == 0


def test_a_broker_that_hangs_up_at_once_is_not_stormed(tmp_path: Path) -> None:
    """Connections that succeed and break do not reset the backoff: a dozen attempts in three seconds, not thousands."""
    with (
        Broker(tmp_path) as broker,
        Proxy(broker.port) as proxy,
        Node(tmp_path, proxy.port, timing=Timing(backoff_min_s=0.1, backoff_max_s=0.8)) as node,
    ):
        end_s = time.monotonic() + 3.0
        while time.monotonic() < end_s:
            if node.publisher.health().connected:
                proxy.cut()
            time.sleep(0.01)
        assert 4 <= proxy.connections <= 12


def test_two_nodes_of_one_name_take_turns_without_a_storm(tmp_path: Path) -> None:
    """A copied configuration: the broker lets one client_id in at a time; both back off, say why, and lose no alert."""
    timing = Timing(backoff_min_s=0.1, backoff_max_s=0.8)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with Broker(tmp_path) as broker, Subscriber(broker.port, f"{TOPICS.base}/+/alert") as plant:
        first, second = (Node(folder, broker.port, timing=timing) for folder in folders)
        with first, second:
            first.commit(("pump-3", 0, b"first"))
            second.commit(("pump-3", 0, b"second"))
            time.sleep(3.0)
            for node in (first, second):
                assert 2 <= node.publisher.health().connections <= 12
                assert "does another node use the" in str(node.publisher.health().last_error)
            wait_until(lambda: first.counts().due == second.counts().due == 0)
        assert {message.payload for message in plant.messages} == {b"first", b"second"}


def test_a_weeks_backlog_drains_in_bounded_memory(tmp_path: Path) -> None:
    """Twenty thousand alerts of twenty machines, 30 MB: the node that sends them grows by less than 10 MB."""
    alert = b"x" * 1500
    with closing(database.connect(tmp_path / database.FILE_NAME)) as connection:
        outbox = Outbox(connection)
        with database.transaction(connection):
            for number in range(BACKLOG):
                topic = TOPICS.alert(f"m{number % 20}")
                outbox.enqueue(topic, alert, alarm_id="a", seq=number, created_ms=0)
    with Broker(tmp_path) as broker:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.drain", str(tmp_path), str(broker.port)],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["rows"] == BACKLOG
    assert told["grown_mb"] < 10.0, told
    with closing(database.connect(tmp_path / database.FILE_NAME)) as connection:
        counts = Outbox(connection).counts()
    assert (counts.due, counts.sent, counts.dropped) == (0, BACKLOG, 0)
