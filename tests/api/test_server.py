"""The API's server on a real socket: who waits, who is given up, what is refused, and that nothing stays behind."""

from __future__ import annotations

import gc
import io
import json
import socket
import stat
import threading
import time
import weakref
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from edge_monitor.api import bounds, daemon_client, jobs
from edge_monitor.api import server as server_module
from edge_monitor.api.daemon_client import DaemonClient
from edge_monitor.api.document import document
from edge_monitor.api.jobs import Jobs
from edge_monitor.api.server import ApiServer
from edge_monitor.config.settings import Settings
from edge_monitor.errors import ControlError, EdgeMonitorError
from edge_monitor.node import files
from edge_monitor.node.alarms import ListAlarms
from edge_monitor.node.node import Node
from edge_monitor.node.operation import Kind, LongOperation, Nothing, OfMachine, Operation, Role
from edge_monitor.node.operations import LIST_ALARMS, LISTEN, OPERATIONS, STATUS
from tests.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[2] / "docs/api/openapi.json"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Return a node with one simulated pump, without a daemon."""
    machine = {"name": "pump", "source": {"kind": "simulator", "machine": "pump", "pace": 20.0}}
    identity = {"site": "plant", "name": "box", "state_dir": str(tmp_path)}
    made = Node(Settings.model_validate({"node": identity, "machine": [machine]}))
    with made.store:
        yield made


@pytest.fixture
def served(node: Node, tmp_path: Path) -> Iterator[Path]:
    """Return the socket of the node's API."""
    server = ApiServer(tmp_path / "api.sock", node, Jobs())
    yield tmp_path / "api.sock"
    server.close()


@contextmanager
def asking(path: Path) -> Iterator[DaemonClient]:
    """Return a client that is closed after the body."""
    with closing(DaemonClient(path)) as asker:
        yield asker


def raw(path: Path, text: bytes = b"") -> socket.socket:
    """Return a connection on which so much was sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10.0)
    connection.connect(str(path))
    connection.sendall(text)
    return connection


def ended_after(connection: socket.socket) -> int:
    """Return how many bytes still came until the other end closed or cut it."""
    got = 0
    with suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            got += len(piece)
    return got


def long_jobs() -> list[str]:
    """Return the names of the threads that do something long."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("job-")]


def test_whoever_comes_before_it_is_ready_waits(node: Node, tmp_path: Path) -> None:
    """The socket is there at once, for the owner and the group, and a call on it is answered."""
    server = ApiServer(tmp_path / "api.sock", node, Jobs())
    assert stat.S_IMODE((tmp_path / "api.sock").stat().st_mode) == 0o660
    with asking(tmp_path / "api.sock") as asker:
        assert not asker.call(STATUS, Nothing()).running
    server.close()
    assert not (tmp_path / "api.sock").exists()
    assert "api" not in [thread.name for thread in threading.enumerate()]


def test_an_error_arrives_as_it_was_raised(served: Path) -> None:
    """With what, where, what to do, and the exit code of the command."""
    with asking(served) as asker, pytest.raises(EdgeMonitorError) as caught:
        asker.call(LIST_ALARMS, ListAlarms(machine="fan"))
    assert str(caught.value) == "--machine: no machine is named 'fan' (the configuration has pump)"
    assert caught.value.exit_code == 2


def test_a_command_of_another_version_gets_one_line(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which names both, whatever it asks."""
    monkeypatch.setattr(daemon_client, "__version__", "9.9.9")
    told = r"the daemon is edge-monitor .*, this command is 9.9.9 \(restart the daemon\)"
    with asking(served) as asker, pytest.raises(ControlError, match=told):
        asker.call(STATUS, Nothing())


def test_half_a_request_is_given_up(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 clients that send half a request each connection is closed in time; meanwhile others are answered."""
    monkeypatch.setattr(bounds, "REQUEST_S", 1.0)
    head = b"POST /v1/inhibit HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n"
    halves = [b"", b"GET /v1/sta", head, head + b'\r\n{"machine": "pu']
    with asking(served) as asker:
        assert not asker.call(STATUS, Nothing()).running
        stuck = [raw(served, halves[number % len(halves)]) for number in range(58)]
        for _ in range(2):  # and of the second request on a connection
            stuck.append(raw(served, b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n"))
            stuck[-1].recv(65_536)
            stuck[-1].sendall(halves[1])
        began_s = time.monotonic()
        assert not asker.call(STATUS, Nothing()).running
        for connection in stuck:
            with connection:
                assert ended_after(connection) is not None
        assert time.monotonic() - began_s < 5.0


def test_a_client_that_stops_reading_is_given_up(served: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is dropped, its connection cut; others are answered meanwhile."""
    monkeypatch.setattr(bounds, "SEND_S", 1.0)
    with asking(served) as asker:
        file_id = asker.send(io.BytesIO(bytes(1 << 20)))
        request = f"GET /v1/files/{file_id}?offset=0 HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        lazy = [raw(served, request) for _ in range(20)]
        assert not asker.call(STATUS, Nothing()).running
        time.sleep(2.5)
        for connection in lazy:
            with connection:
                assert ended_after(connection) < 1 << 20
    assert node.files.piece(file_id, 0)


def test_too_large_a_request_is_refused(served: Path) -> None:
    """Whether it says how large it is or not; the connection of another goes on."""
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(served)), base_url="http://x") as http:
        body = json.dumps({"machine": "p" * (2 << 20)})
        assert http.post("/v1/inhibit", content=body).status_code == 413
        pieces = iter([body.encode()[at : at + 65_536] for at in range(0, len(body), 65_536)])
        with suppress(httpx2.WriteError):  # it was refused while more was being sent
            assert http.post("/v1/inhibit", content=pieces).status_code == 413
    with asking(served) as asker:
        assert not asker.call(STATUS, Nothing()).running


def test_what_is_not_understood_is_refused_with_its_place(served: Path) -> None:
    """Neither unknown fields nor wrong types get through."""
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(served)), base_url="http://x") as http:
        for sent in ('{"machine": "pump", "seconds": "soon"}', '{"machine": "pump"}', "{", "[]", '{"a": 1}'):
            refused = http.post("/v1/inhibit", content=sent, headers={"content-type": "application/json"})
            assert (refused.status_code, set(refused.json())) == (422, {"message", "where", "hint", "exit_code"})
        assert http.get("/v1/alarms/list", params={"limit": 0}).status_code == 422
        assert http.get("/docs").status_code == http.get("/openapi.json").status_code == 404


# --- long operations ------------------------------------------------------------------------------------------------


def test_a_long_operation_ends_when_its_asker_leaves(served: Path) -> None:
    """Whoever stops to follow cancels it at once."""
    with asking(served) as asker:
        readings = asker.follow(LISTEN, OfMachine(machine="pump"))
        first = next(readings)
        assert first.meter is not None
        assert first.verdict.line.startswith("deaf: not enrolled")
        assert long_jobs() == ["job-listen"]
        readings.close()
        wait_until(lambda: not long_jobs(), 5.0, "the end of the job")


def test_a_long_operation_nobody_asks_for_ends(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was killed leaves nothing running for longer than its lease."""
    monkeypatch.setattr(jobs, "LEASE_S", 1.0)
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(served)), base_url="http://x") as http:
        started = http.post("/v1/listen", json={"machine": "pump"})
        assert started.status_code == 202
    assert long_jobs() == ["job-listen"]
    wait_until(lambda: not long_jobs(), 5.0, "the end of the job")
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(served)), base_url="http://x") as http:
        assert http.get(f"/v1/jobs/{started.json()['job']}").json()["ended"]


def test_a_detached_one_goes_on_for_as_long_as_it_was_given(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not longer."""
    monkeypatch.setattr(jobs, "LEASE_S", 0.2)
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(served)), base_url="http://x") as http:
        http.post("/v1/listen", params={"detached_s": 2.0}, json={"machine": "pump"})
    time.sleep(1.2)
    assert long_jobs() == ["job-listen"]
    wait_until(lambda: not long_jobs(), 5.0, "the end of the job")


def test_so_many_long_operations_and_no_more(served: Path) -> None:
    """The next one is refused with what to do."""
    with asking(served) as asker:
        readings = [asker.follow(LISTEN, OfMachine(machine="pump")) for _ in range(jobs.MOST_JOBS)]
        for each in readings:
            next(each)
        with pytest.raises(EdgeMonitorError, match="too many long operations are under way"):
            next(asker.follow(LISTEN, OfMachine(machine="pump")))
        for each in readings:
            each.close()
    wait_until(lambda: not long_jobs(), 5.0, "their end")


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_arrives_whole_and_is_gone_when_it_is_forgotten(served: Path, node: Node) -> None:
    """Three pieces there, three pieces back."""
    content = bytes(range(256)) * 10_000
    with asking(served) as asker:
        file_id = asker.send(io.BytesIO(content))
        assert b"".join(asker.fetch(file_id)) == content
        asker.forget(file_id)
        with pytest.raises(EdgeMonitorError, match="no such file"):
            list(asker.fetch(file_id))
    assert [each for each in node.state_dir.path.iterdir() if each.suffix == ".tmp"] == []


def test_a_piece_that_is_sent_twice_is_there_once(served: Path, node: Node) -> None:
    """As a client does that got no answer; one that leaves a hole is refused."""
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(served)), base_url="http://x") as http:
        file_id = http.post("/v1/files").json()["file"]
        for offset, expected in ((0, 200), (0, 200), (4, 200), (9, 400)):
            sent = http.put(f"/v1/files/{file_id}", params={"offset": offset}, content=b"abcd")
            assert sent.status_code == expected
    assert node.files.piece(file_id, 0) == b"abcdabcd"


# --- the table ------------------------------------------------------------------------------------------------------


def test_the_document_is_the_one_that_is_checked_in() -> None:
    """`make docs` writes it."""
    assert json.loads(DOCUMENT.read_text("utf-8")) == json.loads(json.dumps(document()))


def test_the_table_says_who_may_do_what() -> None:
    """Each name once; whatever changes what a machine has learnt is for administrators, and only reading is for all."""
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)
    for each in OPERATIONS:
        learns = each.name.startswith(("normals.", "generations.", "enroll", "calibrate", "backup", "reload"))
        looks = each.name.endswith((".list", ".known")) or each.kind is Kind.READ
        if learns and not looks:
            assert each.role is Role.ADMIN, each.name
        assert isinstance(each, LongOperation if each.kind is Kind.LONG else Operation)


def test_a_file_that_nobody_touches_goes_by_itself(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup whose asker died holds no disk: its file has no name, and is closed after its lease."""
    monkeypatch.setattr(server_module, "_TIDY_S", 0.2)
    monkeypatch.setattr(files, "_LEASE_S", 0.5)
    server = ApiServer(tmp_path / "api.sock", node, Jobs())
    with asking(tmp_path / "api.sock") as asker:
        file_id = asker.send(io.BytesIO(b"x" * 100))
    with node.files.using(file_id) as content:
        pass
    wait_until(lambda: content.closed, 5.0, "its end")
    server.close()


def test_a_node_is_let_go_when_its_api_has_ended(tmp_path: Path) -> None:
    """Whatever FastAPI keeps of the functions that answered: each reload would leave a daemon in memory."""
    machine = {"name": "pump", "source": {"kind": "simulator"}}
    identity = {"site": "plant", "name": "box", "state_dir": str(tmp_path)}
    made = Node(Settings.model_validate({"node": identity, "machine": [machine]}))
    server = ApiServer(tmp_path / "api.sock", made, Jobs())
    with asking(tmp_path / "api.sock") as asker:
        assert not asker.call(STATUS, Nothing()).running
    server.close()
    gone = weakref.ref(made)
    del made, server
    gc.collect()
    assert gone() is None
