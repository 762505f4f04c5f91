"""Clients of the API that send half a request, stop reading, or die: gone in ten seconds, and no window waits."""

from __future__ import annotations

import io
import json
import shutil
import socket
import struct
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import psutil

from edge_monitor.api.daemon_client import DaemonClient
from edge_monitor.node.operation import LongOperation
from edge_monitor.node.operations import OPERATIONS
from tests.broker import Broker, Subscriber, wait_until
from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path

PUMP = '{ kind = "simulator", machine = "pump", take = 1, pace = "realtime" }'
EACH = 20  # clients of a kind
HOP_S = 1.0  # a window that is judged later than this has made the next one wait
GONE_S = 15.0  # ten seconds, for a job that was asked about once more ten after that, and a little
ANSWERING = 4  # threads of the API that stay once they were needed, and descriptors that SQLite keeps for the next
KEPT = 4  # answers that are files, two exports and two snapshots: each goes a minute after it was last touched
HALF = b"POST /v1/inhibit HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing cuts the connection, as the death of a process may
LONG = [each for each in OPERATIONS if isinstance(each, LongOperation) and each.name != "reload"]
FIELDS: dict[str, Any] = {"machine": "pump", "minutes": 5, "seconds": 300, "number": 1, "recordings": ["#1"]}


def connect(path: Path, sent: bytes) -> socket.socket:
    """Return a connection on which so much was sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30.0)
    connection.connect(str(path))
    connection.sendall(sent)
    return connection


def begin(path: Path, number: int) -> socket.socket:
    """Begin a long operation; its answer is never read."""
    operation = LONG[number % len(LONG)]
    fields = operation.request.model_fields
    body = {name: FIELDS.get(name, "x") for name, field in fields.items() if field.is_required() or name in FIELDS}
    content = json.dumps(body).encode()
    head = f"POST /v1/{operation.name.replace('.', '/')} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return connect(path, f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)


def test_sixty_clients_that_hang_or_die_are_gone_in_ten_seconds_and_delay_no_window(
    enrolled_state: Path, tmp_path: Path
) -> None:
    """A third sends half a request, a third never reads, a third dies in a long operation."""
    shutil.copytree(enrolled_state, tmp_path / "state")
    with ExitStack() as held, Broker(tmp_path) as broker, Subscriber(broker.port) as plant:
        product = Product(tmp_path, PUMP, mqtt_port=broker.port)
        path = product.state / "run/control.sock"
        with product.daemon() as daemon:
            process = psutil.Process(daemon.process.pid)

            def scores() -> list[dict[str, Any]]:
                topic = "edge-monitor/v1/plant/edge/pump/score"
                return [json.loads(message.payload) for message in plant.messages if message.topic == topic]

            wait_until(lambda: len(scores()) > 2, 60.0, "scores")
            with closing(DaemonClient(path)) as client:
                large = client.send(io.BytesIO(bytes(1 << 20)))
            before, first = (process.num_threads(), process.num_fds()), len(scores())
            lazy = f"GET /v1/files/{large}?offset=0 HTTP/1.1\r\nhost: x\r\n\r\n".encode()
            for number in range(2 * EACH):
                held.enter_context(connect(path, HALF if number % 2 else lazy))
            for number in range(EACH):
                with begin(path, number) as dying:
                    dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            began_s = time.monotonic()
            while time.monotonic() - began_s < 10.0:
                assert product.status()["running"], "others are answered meanwhile"
                time.sleep(0.5)
            wait_until(
                lambda: (
                    process.num_threads() <= before[0] + ANSWERING and process.num_fds() <= before[1] + ANSWERING + KEPT
                ),
                GONE_S,
                "threads and descriptors as before",
            )
            during = scores()[first:]
            assert max(score["lag_s"] for score in during) < HOP_S
            assert len(during) >= 9
            status = product.status()
            assert [machine["state"] for machine in status["machines"]] == ["normal"]
            assert (status["dropped_windows"], status["dropped_frames"]) == (0, 0)
            assert daemon.stop() == 0
    assert product.intact()
