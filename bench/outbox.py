"""Outbox to broker: what an alert costs from its commit to its acknowledgement, beside paho's queue in memory.

`python -m bench.outbox` starts a mosquitto on a free loopback port. A storage thread deletes acknowledged rows in
batches, as the service does; every commit is `synchronous=FULL`. How fast a whole daemon drains is in bench/load.py.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.node import ALERT
from bench.pairs import in_turns
from bench.part import need
from bench.rows import Row, cost_row, markdown
from edge_monitor.config.settings import MqttSettings
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.deliver.topics import Topics
from edge_monitor.store import database
from tests.broker import Broker, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_monitor.deliver.outbox import OutboxCounts, OutboxRow

TOPICS = Topics("edge-monitor/v1", "bench", "edge-01")
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


if __name__ == "__main__":
    print(markdown(measure(20.0)))
