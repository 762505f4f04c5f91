"""A node without ears: a real database, its outbox and the publisher, wired as the service wires them but directly.

`python -m tests.deliver.node FOLDER PORT` runs one until it is killed.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge_monitor.config.machine import MachineSettings
from edge_monitor.config.settings import MqttSettings, NodeSettings
from edge_monitor.deliver.compose import status_payload
from edge_monitor.deliver.health import Timing
from edge_monitor.deliver.outbox import Outbox, OutboxCounts, OutboxRow
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.deliver.topics import Topics
from edge_monitor.store import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Literal

NODE = NodeSettings(site="plant-7", name="edge-01")
PUMP = MachineSettings.model_validate(
    {
        "name": "pump-3",
        "display_name": "Cooling pump 3",
        "kind": "pump",
        "source": {"kind": "simulator"},
    }
)
TOPICS = Topics("edge-monitor/v1", "plant-7", "edge-01")
QUICK = Timing(backoff_min_s=0.05, backoff_max_s=0.2, acknowledge_s=1.0, drain_s=2.0)


def status(state: Literal["online", "stopped", "offline"], reason: str) -> bytes:
    """Build the node's status as the service does."""
    return status_payload(
        NODE,
        state=state,
        reason=reason,
        bundle="spectral",
        started_ms=1_769_846_400_000,
        at_ms=1_769_846_400_250,
        clock_synced=True,
    ).encode()


class Node:
    """A publisher over its own database; a context manager that stops it. It is its own OutboxPort."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        timing: Timing = QUICK,
        max_rows: int = 100_000,
        on_cleared: Callable[[str], None] = print,
        **mqtt: object,
    ) -> None:
        self._lock = threading.Lock()
        self._writer = database.connect(folder / database.FILE_NAME)
        self._reader = database.connect(folder / database.FILE_NAME, read_only=True)
        self._outbox = Outbox(self._writer, max_rows=max_rows)
        settings = MqttSettings.model_validate({"host": "127.0.0.1", "port": port, **mqtt})
        self.publisher = Publisher(settings, TOPICS, self, status, timing=timing, on_cleared=on_cleared)

    def __enter__(self) -> Self:
        """Start the publisher."""
        self.publisher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.close()

    def close(self) -> None:
        """Stop the publisher and close the database."""
        self.publisher.stop()
        self._writer.close()
        self._reader.close()

    def commit(self, *messages: tuple[str, int, bytes]) -> None:
        """Commit alerts as (machine, seq, payload) in one transaction, and wake the publisher."""
        now_ms = time.time_ns() // 1_000_000
        with self._lock, database.transaction(self._writer):
            for machine, seq, payload in messages:
                self._outbox.enqueue(TOPICS.alert(machine), payload, alarm_id="a", seq=seq, created_ms=now_ms)
        self.publisher.wake()

    def parked(self) -> list[tuple[str, int, str]]:
        """Return (topic, seq, reason) of the parked rows."""
        with self._lock:
            rows = self._writer.execute(
                "SELECT topic, seq, parked_reason FROM outbox WHERE parked_reason IS NOT NULL ORDER BY id"
            ).fetchall()
        return [(row["topic"], row["seq"], row["parked_reason"]) for row in rows]

    @contextmanager
    def writing(self) -> Iterator[Outbox]:
        """Yield the outbox inside a transaction."""
        with self._lock, database.transaction(self._writer):
            yield self._outbox

    def due(self, limit: int, after: int) -> list[OutboxRow]:
        """Read what waits."""
        return Outbox(self._reader).due(limit, after)

    def acknowledge(self, row_id: int) -> None:
        """Delete a row."""
        with self._lock, database.transaction(self._writer):
            self._outbox.acknowledge([row_id])

    def park(self, row_id: int, reason: str) -> None:
        """Park a row."""
        with self._lock, database.transaction(self._writer):
            self._outbox.park(row_id, reason)

    def counts(self) -> OutboxCounts:
        """Count, as any thread may."""
        with self._lock:
            return self._outbox.counts()


if __name__ == "__main__":
    with Node(Path(sys.argv[1]), int(sys.argv[2])):
        time.sleep(60)
