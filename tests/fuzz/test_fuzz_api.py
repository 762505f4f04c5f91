"""The API under requests that nobody would send: answered or refused, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from edge_monitor.api.document import document
from edge_monitor.node.operation import Kind
from edge_monitor.node.operations import OPERATIONS
from tests.broker import wait_until
from tests.fuzz.search import thoroughly
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = '{ kind = "simulator", machine = "pump", take = 1, pace = "realtime" }'
SECONDS = float(os.environ.get("EDGE_MONITOR_FUZZ_SECONDS", "60"))
SEARCHED = 100  # requests in one search
GONE_S = 15.0  # after which whatever was begun and left has ended: its lease of 10 s, and a little
HOSTILE = ("../../etc/passwd", "/etc/passwd", "..", "pump/../pump", "pump\0", "", "pümp", "x" * 10_000, "' OR 1=1 --")
OF_MACHINES = sorted(each.name for each in OPERATIONS if "machine" in each.request.model_fields)
SCHEMA = schemathesis.openapi.from_dict(document())
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
# A reload ends the daemon and begins it anew: its memory and descriptors could not be compared.


def unwrapped(found: Any) -> Any:  # noqa: ANN401 - schemathesis' own
    """Return an operation that the document describes well."""
    return found.ok()


CASES = st.one_of(
    *(
        operation.as_strategy(mode)
        for found in SCHEMA.get_all_operations()
        if (operation := unwrapped(found)).path != "/v1/reload"
        for mode in MODES
    )
)


class Running:
    """A daemon, and how to ask it anything."""

    def __init__(self, product: Product, process: psutil.Process, log: Path) -> None:
        self.product = product
        self.process = process
        self.log = log
        self.socket = product.state / "run/control.sock"
        self.http = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(self.socket)), base_url="http://x", timeout=30.0
        )

    def ask(self, name: str, fields: dict[str, Any]) -> httpx2.Response:
        """Ask for an operation."""
        kind = next(each.kind for each in OPERATIONS if each.name == name)
        path = f"/v1/{name.replace('.', '/')}"
        if kind is Kind.READ:
            return self.http.get(path, params=fields)
        return self.http.post(path, json=fields)

    def left(self) -> tuple[int, int]:
        """Return the numbers of threads and descriptors."""
        return self.process.num_threads(), self.process.num_fds()


@pytest.fixture(scope="module")
def running(enrolled_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a daemon that hears a healthy pump; it must still be well at the end, and as large as before."""
    folder = tmp_path_factory.mktemp("api")
    shutil.copytree(enrolled_state, folder / "state")
    product = Product(folder, QUIET)
    with product.daemon() as daemon:
        found = Running(product, psutil.Process(daemon.process.pid), daemon.log)
        for _ in range(20):  # what is taken once, is taken
            found.ask("status", {})
        before, size = found.left(), found.process.memory_info().rss
        yield found
        found.http.close()
        wait_until(lambda: found.left() <= (before[0] + 4, before[1] + 4), GONE_S, "threads and descriptors as before")
        assert found.process.memory_info().rss - size < 100e6
        assert product.answer("status")["running"] is True
        assert daemon.stop() == 0
    assert product.intact()
    assert "Traceback" not in found.log.read_text()
    assert "api.operation_failed" not in found.log.read_text()


@pytest.mark.timeout(SECONDS + 240)
def test_no_request_makes_the_daemon_fail(running: Running) -> None:
    """For a minute, whatever fits the document or just does not: no answer of the 500s but 503, which says why."""
    end_s = time.monotonic() + SECONDS
    asked: set[str] = set()

    @settings(
        max_examples=SEARCHED,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=CASES)
    def ask(case: Any) -> None:  # noqa: ANN401 - as above
        wanted = case.as_transport_kwargs(base_url="http://x")
        wanted = {key: value for key, value in wanted.items() if key in {"method", "url", "params", "json", "headers"}}
        wanted["content"] = case.as_transport_kwargs(base_url="http://x").get("data")
        try:
            request = running.http.build_request(**wanted)
        except (TypeError, ValueError, httpx2.InvalidURL):  # no HTTP client would send it
            return
        try:
            answer = running.http.send(request)
        except httpx2.LocalProtocolError:  # as above
            return
        asked.add(case.operation.label)
        assert answer.status_code < 500 or answer.status_code == 503, (request, answer.text)
        assert "Traceback" not in answer.text

    while time.monotonic() < end_s:  # each search begins with another seed
        ask()
    assert len(asked) > len(OPERATIONS) // 2


@thoroughly
@given(frame=st.binary(max_size=300))
@example(frame=b"GET / HTTP/1.1\r\n\r\n")
@example(frame=b"GET /v1/status HTTP/9.9\r\nhost: x\r\n\r\n")
@example(frame=b"POST /v1/inhibit HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n")
@example(frame=b"POST /v1/inhibit HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n")
@example(frame=b"\x16\x03\x01\x02\x00" * 50)
def test_any_bytes_cost_no_more_than_their_connection(running: Running, frame: bytes) -> None:
    """What is no request is refused or closed; the next one is answered."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30.0)
        connection.connect(str(running.socket))
        connection.sendall(frame)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    assert running.ask("status", {}).is_success


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("operation", OF_MACHINES)
def test_no_operation_takes_a_machine_that_is_none(running: Running, operation: str, name: str) -> None:
    """A machine's name that leads elsewhere is refused by every operation, and no file is made."""
    before = sorted(path for path in running.product.folder.rglob("*") if "db" not in path.name)
    fields: dict[str, Any] = {"machine": name}
    for field, about in next(each.request for each in OPERATIONS if each.name == operation).model_fields.items():
        if about.is_required() and field != "machine":
            fields[field] = {"seconds": 1, "minutes": 1, "number": 1}.get(field, "x")
    answer = running.ask(operation, fields)
    if answer.status_code == 202:
        answer = running.http.get(f"/v1/jobs/{answer.json()['job']}")
        assert answer.json()["error"]
    else:
        assert answer.status_code in {400, 422}
    assert sorted(path for path in running.product.folder.rglob("*") if "db" not in path.name) == before
