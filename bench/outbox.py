"""Outbox to broker: rows per second while a backlog drains, and the time from a commit to its PUBLISH.

`python -m bench.outbox [ROWS]` starts a mosquitto on a free loopback port. A storage thread deletes acknowledged rows
in batches, as the service does; every commit is `synchronous=FULL`.
"""

from __future__ import annotations

import queue
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.node import ALERT
from bench.pairs import in_turns
from bench.part import need
from bench.rows import Row, cost_row
from edge_monitor.config.settings import MqttSettings
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.deliver.topics import Topics
from edge_monitor.store import database
from tests.broker import Broker, Subscriber, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_monitor.deliver.outbox import OutboxCounts, OutboxRow

TOPICS = Topics("edge-monitor/v1", "bench", "edge-01")
LATENCIES = 500
BATCH = 500  # alerts of one turn


class Storage:
    """The writing connection in its own thread: batches whatever has queued up into one commit."""

    def __init__(self, path: Path) -> None:
        self._writer = database.connect(path)
        self._reader = database.connect(path)
        self._jobs: queue.SimpleQueue[Callable[[Outbox], object] | None] = queue.SimpleQueue()
        self._committed: list[threading.Event] = []  # to be set after the running commit
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def enqueue(self, machine: str, seqs: Sequence[int]) -> None:
        """Commit alerts in one transaction, and return when they are on disk."""
        done = threading.Event()

        def job(outbox: Outbox) -> None:
            for seq in seqs:
                outbox.enqueue(TOPICS.alert(machine), ALERT, alarm_id="a", seq=seq, created_ms=0)
            self._committed.append(done)

        self._jobs.put(job)
        done.wait()

    def due(self, limit: int, after: int) -> list[OutboxRow]:
        """Read what waits."""
        return Outbox(self._reader).due(limit, after)

    def acknowledge(self, row_id: int) -> None:
        """Have a row deleted."""
        self._jobs.put(lambda outbox: outbox.acknowledge([row_id]))

    def park(self, row_id: int, reason: str) -> None:
        """Have a row parked."""
        self._jobs.put(lambda outbox: outbox.park(row_id, reason))

    def counts(self) -> OutboxCounts:
        """Count."""
        return Outbox(self._reader).counts()

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join()
        self._writer.close()
        self._reader.close()

    def _run(self) -> None:
        outbox = Outbox(self._writer)
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            self._committed = []
            with database.transaction(self._writer):
                for job in jobs:
                    if job is not None:
                        job(outbox)
            for committed in self._committed:
                committed.set()
            if None in jobs:
                return


def drain(folder: Path, rows: int, machines: int) -> float:
    """Return rows per second from the start of the publisher to the last acknowledgement."""
    storage = Storage(folder / f"drain-{machines}.db")
    for machine in range(machines):
        storage.enqueue(f"m{machine}", range(rows // machines))
    with Broker(folder) as broker:
        settings = MqttSettings(host="127.0.0.1", port=broker.port)
        publisher = Publisher(settings, TOPICS, storage, lambda *_: b"{}")
        began_s = time.monotonic()
        publisher.start()
        wait_until(lambda: publisher.health().sent == rows, 300.0)
        rate = rows / (time.monotonic() - began_s)
        publisher.stop()
    storage.close()
    return rate


def latency(folder: Path) -> tuple[float, float, float]:
    """Return p50 and p99 of commit -> PUBLISH at the subscriber, and p50 of the commit itself, milliseconds."""
    storage = Storage(folder / "latency.db")
    alert = TOPICS.alert("m0")
    took_ms, commit_ms = [], []
    with Broker(folder) as broker, Subscriber(broker.port, alert) as plant:
        settings = MqttSettings(host="127.0.0.1", port=broker.port)
        publisher = Publisher(settings, TOPICS, storage, lambda *_: b"{}")
        publisher.start()
        wait_until(lambda: publisher.health().connected)
        for seq in range(LATENCIES):
            began_ns = time.monotonic_ns()
            storage.enqueue("m0", [seq])
            committed_ns = time.monotonic_ns()
            publisher.wake()
            message = plant.wait_for(alert, seq + 1)[-1]
            took_ms.append((message.at_ns - committed_ns) / 1e6)
            commit_ms.append((committed_ns - began_ns) / 1e6)
        publisher.stop()
    storage.close()
    percentiles = statistics.quantiles(took_ms, n=100)
    return percentiles[49], percentiles[98], statistics.median(commit_ms)


def measure(seconds: float) -> list[Row]:
    """Return what an alert costs from the outbox, and from paho's queue in memory: both QoS 1, in order."""
    need("mosquitto")
    with tempfile.TemporaryDirectory() as name:
        return [beside_paho(Path(name), machines, seconds / 2.0) for machines in (1, 10)]


def beside_paho(folder: Path, machines: int, seconds: float) -> Row:
    """Return the row of so many machines, each with one message in flight; paho has as many in flight."""
    storage = Storage(folder / f"outbox-{machines}.db")
    with Broker(folder) as broker:
        publisher = Publisher(MqttSettings(host="127.0.0.1", port=broker.port), TOPICS, storage, lambda *_: b"{}")
        publisher.start()
        bare = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        bare.max_inflight_messages_set(machines)
        bare.connect("127.0.0.1", broker.port)
        bare.loop_start()
        wait_until(lambda: publisher.health().connected and bare.is_connected())

        def durable() -> None:
            wanted = publisher.health().sent + BATCH
            for machine in range(machines):
                storage.enqueue(f"m{machine}", range(BATCH // machines))
            publisher.wake()
            wait_until(lambda: publisher.health().sent >= wanted, 60.0)

        def in_memory() -> None:
            sent = [bare.publish(TOPICS.alert("bare"), ALERT, qos=1) for _ in range(BATCH)]
            for message in sent:
                message.wait_for_publish(60.0)

        taken = in_turns(durable, in_memory, seconds=seconds) / BATCH
        bare.disconnect()
        bare.loop_stop()
        publisher.stop()
    storage.close()
    what = f"outbox, an alert of {len(ALERT)} B, {machines} machine{'s' if machines > 1 else ''}"
    rate = 1.0 / float(np.median(taken[:, 0]))
    note = f"committed, published, acknowledged; {rate:.0f} rows/s"
    return cost_row(what, taken[:, 0], "paho from memory", taken[:, 1], unit="ms", scale=1e3, note=note)


def main() -> None:
    """Print the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        for machines in (1, 10):
            rate = drain(Path(name), rows, machines)
            print(f"drain {rows} alerts of {len(ALERT)} B, {machines} machine(s): {rate:.0f} rows/s")
        p50_ms, p99_ms, commit_ms = latency(Path(name))
        print(
            f"commit -> PUBLISH received by a subscriber: p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms ({LATENCIES} alerts)"
        )
        print(f"the commit itself (fsync): p50 {commit_ms:.2f} ms")


if __name__ == "__main__":
    main()
