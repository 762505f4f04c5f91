"""Empties an outbox as the service does, in a process of its own: `python -m tests.faults.drain FOLDER PORT`.

Prints rows, seconds and how much memory it took at the most, as JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from edge_monitor.config.settings import MqttSettings
from edge_monitor.deliver.outbox import OutboxCursor
from edge_monitor.deliver.publisher import Publisher
from edge_monitor.store.database import FILE_NAME
from edge_monitor.store.store import Store
from tests.deliver.node import TOPICS, status


def peak_mb() -> float:
    """Return the most memory this process has had, MB."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 1000


def main() -> None:
    """Drain, and print the figures."""
    storage = Store(Path(sys.argv[1]) / FILE_NAME)
    outbox = OutboxCursor(storage)
    rows = outbox.counts().due
    before_mb = peak_mb()
    publisher = Publisher(MqttSettings(host="127.0.0.1", port=int(sys.argv[2])), TOPICS, outbox, status)
    began_s = time.monotonic()
    publisher.start()
    while publisher.health().sent < rows or outbox.counts().due:  # the writer deletes what the broker has acknowledged
        time.sleep(0.01)
    seconds = time.monotonic() - began_s
    publisher.stop()
    storage.close()
    grown_mb = round(peak_mb() - before_mb, 1)
    sys.stdout.write(json.dumps({"rows": rows, "seconds": round(seconds, 2), "grown_mb": grown_mb}) + "\n")


if __name__ == "__main__":
    main()
