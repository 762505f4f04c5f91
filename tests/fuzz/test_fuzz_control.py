"""Any bytes on the control socket: one answer or one clear error each, and the daemon goes on as before."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_monitor.node.operations import VERBS
from tests.fuzz.search import thoroughly
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = '{ kind = "simulator", machine = "pump", take = 1, pace = "realtime" }'
# Verbs that wait for sound, stop the machine's supervision or load a caption decoder are tried without their machine.
QUICK = sorted(set(VERBS) - {"listen", "enroll.live", "explain.sound"})
HOSTILE = (
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "pump/../pump",
    "pump\0",
    "",
    "pümp",
    "x" * 10_000,
    "+",
    "' OR 1=1 --",
)


class Running:
    """A daemon, and how to ask it anything."""

    def __init__(self, product: Product, process: psutil.Process, log: Path) -> None:
        self.product = product
        self.process = process
        self.log = log

    def send(self, frame: bytes) -> list[dict[str, Any]]:
        """Send bytes, and return the answer's lines."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30.0)
            connection.connect(str(self.product.state / "run/control.sock"))
            connection.sendall(frame)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                return [json.loads(line) for line in stream]

    def ask(self, verb: str, arguments: object) -> list[dict[str, Any]]:
        """Ask for a verb."""
        return self.send(json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n")


@pytest.fixture(scope="module")
def running(enrolled_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a daemon that hears a healthy pump; it must still be well at the end, and as large as before."""
    folder = tmp_path_factory.mktemp("control")
    shutil.copytree(enrolled_state, folder / "state")
    product = Product(folder, QUIET)
    with product.daemon() as daemon:
        process = psutil.Process(daemon.process.pid)
        before = process.memory_info().rss
        yield Running(product, process, daemon.log)
        assert product.answer("status")["running"] is True
        assert process.memory_info().rss - before < 200e6
        assert process.num_threads() < 40
        assert daemon.stop() == 0
    assert product.intact()


def one_answer(lines: list[dict[str, Any]]) -> None:
    """Check that an answer ends once, and that an error is one readable line."""
    assert lines, "no answer at all"
    assert [line for line in lines[:-1] if "item" not in line] == []
    error = lines[-1].get("error")
    if error is None:
        assert lines[-1] == {"end": True}
        return
    assert set(error) == {"message", "where", "hint", "exit_code"}
    assert "Traceback" not in json.dumps(error)
    assert error["message"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(("pump", *HOSTILE)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@thoroughly
@given(frame=st.one_of(st.binary(max_size=300), json_values.map(lambda value: json.dumps(value).encode())))
@example(frame=b"[" * 100_000)
@example(frame=b"\xff\xfe")
@example(frame=b'{"verb": ["status"], "arguments": {}}')
@example(frame=b'{"verb": {}, "arguments": 1}')
def test_any_frame_gets_one_answer(running: Running, frame: bytes) -> None:
    """Bytes that are no request are told so."""
    one_answer(running.send(frame.replace(b"\n", b" ") + b"\n"))


@thoroughly
@given(
    verb=st.sampled_from((*QUICK, "nonsense")),
    arguments=st.dictionaries(
        st.sampled_from(
            ("machine", "id", "name", "sha256", "content", "generation", "recording", "alarm_id", "seconds")
        ),
        json_values,
        max_size=3,
    ),
)
@example(verb="normals.import", arguments={"machine": "pump", "content": "AAAA"})
@example(verb="normals.import", arguments={"machine": "pump", "content": "not base64"})
@example(verb="status", arguments={"unasked": 1})
def test_any_arguments_get_one_answer(running: Running, verb: str, arguments: dict[str, object]) -> None:
    """Whatever a request asks of whatever verb, it is answered or refused."""
    one_answer(running.ask(verb, arguments))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("verb", [verb for verb in sorted(VERBS) if verb != "status"])
def test_no_verb_takes_a_machine_that_is_none(running: Running, verb: str, name: str) -> None:
    """A machine's name that leads elsewhere is refused by every verb, and no file is made."""
    before = sorted(path for path in running.product.folder.rglob("*") if "db" not in path.name)
    lines = running.ask(verb, {"machine": name})
    one_answer(lines)
    assert "error" in lines[-1] or lines[:-1] == []
    assert sorted(path for path in running.product.folder.rglob("*") if "db" not in path.name) == before


def test_a_connection_that_says_nothing_or_goes_away_costs_nothing(running: Running) -> None:
    """Half a request, no request, and an asker that does not read the answer are forgotten."""
    for frame in (b"", b'{"verb": "status"', b"x" * 100_000):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(running.product.state / "run/control.sock"))
            connection.sendall(frame)
    one_answer(running.ask("status", {}))


def test_a_mistaken_request_leaves_no_traceback_in_the_log(running: Running) -> None:
    """Arguments that a verb does not take are the asker's mistake, not the daemon's."""
    [line] = running.ask("generations.list", {"machine": "pump", "unasked": 1})
    assert "unasked" in line["error"]["message"]
    [line] = running.ask("alarms.show", {})
    assert "daemon failed" not in line["error"]["message"]
    [line] = running.ask("status", [1])
    assert line["error"]["message"].startswith("not a request")
    assert "unasked" not in running.log.read_text()
