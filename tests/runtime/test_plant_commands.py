"""What the plant asks for is obeyed once, if it is allowed and in time."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from edge_monitor.config.settings import Settings
from edge_monitor.node.node import Node
from edge_monitor.runtime.plant_commands import BURST, PlantCommands
from tests.broker import wait_until
from tests.runtime.parts import NODE, PUMP, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def replies() -> list[bytes]:
    """Return what was answered."""
    return []


@pytest.fixture
def commands(tmp_path: Path, replies: list[bytes]) -> Iterator[PlantCommands]:
    """Return what obeys one command, for a node of its own."""
    node = Node(Settings(node=NODE.model_copy(update={"state_dir": tmp_path}), machine=(PUMP,)))
    with node.store:
        obeying = PlantCommands(node, ("inhibit",), replies.append, threading.Event())
        obeying.start()
        yield obeying
        obeying.close()


def asked(request_id: str, valid_s: float = 60.0, **more: object) -> bytes:
    """Return a request to inhibit the pump's alarms for ten minutes."""
    now_ms = time.time_ns() // 1_000_000
    request = {"request_id": request_id, "machine": "pump", "duration_s": 600.0}
    times = {"issued_at_ms": now_ms - 120_000, "expires_at_ms": now_ms + round(valid_s * 1000)}
    return json.dumps(request | times | more).encode()


def test_a_request_that_comes_twice_is_obeyed_once_and_answered_as_before(
    commands: PlantCommands, replies: list[bytes]
) -> None:
    """The second answer has the first one's bytes, and the inhibition its first end."""
    commands.take("inhibit", asked("r-1"), retained=False)
    wait_until(lambda: len(replies) == 1, 10.0, "an answer")
    until = rows(commands.node.store, "SELECT * FROM inhibitions")
    commands.take("inhibit", asked("r-1"), retained=False)
    wait_until(lambda: len(replies) == 2, 10.0, "a second answer")
    assert json.loads(replies[0])["result"] == "done"
    assert replies[1] == replies[0]
    assert len(until) == 1
    assert rows(commands.node.store, "SELECT * FROM inhibitions") == until


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"valid_s": -1.0}, "the request has expired"),
        ({"machine": "lathe"}, "no machine is named 'lathe'"),
        ({"force": True}, "it has a field that this command does not know"),
    ],
)
def test_a_request_that_is_late_or_wrong_is_refused(
    commands: PlantCommands, replies: list[bytes], wanted: dict[str, Any], reason: str
) -> None:
    """The answer says why and finds its asker; nothing is inhibited."""
    commands.take("inhibit", asked("r-1", **wanted), retained=False)  # made now: it is valid for a while only
    wait_until(lambda: replies, 10.0, "an answer")
    answer = json.loads(replies[0])
    assert (answer["request_id"], answer["result"], answer["text"]) == ("r-1", "refused", reason)
    assert rows(commands.node.store, "SELECT * FROM inhibitions") == []


def test_a_flood_and_what_a_broker_retained_are_left_unanswered(commands: PlantCommands, replies: list[bytes]) -> None:
    """Of fifty at once ten are answered, however fast they come."""
    commands.take("inhibit", asked("retained"), retained=True)
    for number in range(50):
        commands.take("inhibit", asked(f"r-{number}", machine="lathe"), retained=False)
    wait_until(lambda: len(replies) == BURST, 10.0, "ten answers")
    commands.close()
    assert len(replies) == BURST == 10
