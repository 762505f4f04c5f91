"""A log that nobody reads: nothing that listens, decides or tells waits for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from edge_monitor.runtime.logs import BoundedLog
from tests.broker import Broker, Subscriber, wait_until
from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path

FAILING = '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 60, pace = 10 }'


def fill(descriptor: int) -> None:
    """Leave no room in a pipe, as a reader does that was stopped."""
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, b"\n" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(descriptor, True)


def test_a_log_that_nobody_reads_stops_nothing(enrolled_state: Path, tmp_path: Path) -> None:
    """With the pipe full from the first line on an alarm is raised, stored and told, and SIGTERM ends the daemon."""
    shutil.copytree(enrolled_state, tmp_path / "state")
    reader, writer = os.pipe()
    fill(writer)
    with Broker(tmp_path) as broker, Subscriber(broker.port) as plant:
        product = Product(tmp_path, FAILING, mqtt_port=broker.port)
        daemon = subprocess.Popen(product.argv("run", "--verbose"), stderr=writer)
        os.close(writer)
        try:
            wait_until(lambda: any(message.topic.endswith("/alert") for message in plant.messages), 90.0, "an alert")
            assert product.rows("SELECT count(*) FROM alarms") == [(1,)]
            daemon.terminate()
            assert daemon.wait(5.0) == 0
        finally:
            daemon.kill()
            daemon.wait(5.0)
            os.close(reader)


def test_lines_that_found_no_room_are_counted_and_told_once_there_is_some() -> None:
    """The newest are dropped, never a thread's time."""
    reader, writer = os.pipe()
    fill(writer)
    log = BoundedLog(writer, lines=10)
    for number in range(30):
        log.write(f"line {number}\n")
    assert 19 <= log.dropped <= 20  # one is being written
    lost = log.dropped
    with os.fdopen(reader) as read:
        lines = (line for line in read if line != "\n")
        kept = [next(lines) for _ in range(31 - lost)]
        assert kept[0] == "line 0\n"
        assert json.loads(kept[1]) == {"event": "log.lines_dropped", "level": "warning", "lines": lost}
        log.write("and on\n")
        assert next(lines) == "and on\n"
    log.write("nobody is there any more\n")
    log.finish()
    os.close(writer)
