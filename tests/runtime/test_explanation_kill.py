"""kill -9 at every step of an explanation, and a week without the LLM: told once, never lost, paid twice at most."""

from __future__ import annotations

import random
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.broker import Broker, Subscriber, wait_until
from tests.encode.talking import write
from tests.explained import BASE, EXPLANATION, FAILING, explain, explanations
from tests.llm_server import GOOD, WRONG, LlmServer, says, stalls
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Product]

GOES_ON = FAILING.replace("seconds = 90, ", "")
HEALTHY = '{ kind = "simulator", machine = "pump", take = 2 }'
FINISHED = "SELECT method FROM explanations WHERE finished_ms IS NOT NULL"
LIVE_S = 60.0


def rows(product: Product, query: str) -> list[tuple[Any, ...]]:
    """Return a query's rows; none while the daemon is still making the tables."""
    try:
        return product.rows(query)
    except sqlite3.OperationalError:
        return []


def silent_port() -> int:
    """Return a port nobody listens on, below those the kernel gives to clients: a client could meet itself there."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("every port is taken")


def queued(product: Product) -> list[bytes]:
    """Return the explanations that are committed and not delivered, oldest first."""
    found = product.rows("SELECT payload FROM outbox WHERE topic LIKE '%/explanation' ORDER BY id")
    return [payload for (payload,) in found]


def run_between(product: Product, committed: str, next_one: str, seed: int) -> None:
    """Run the daemon and SIGKILL it between two commits, each a query that has a row from then on.

    From the first commit on the disk takes nothing more: the next one cannot come.
    """
    with (
        closing(sqlite3.connect(product.state / "edge-monitor.db", isolation_level=None)) as connection,
        subprocess.Popen(product.argv("run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon,
    ):
        try:
            wait_until(lambda: connection.execute(committed).fetchone(), LIVE_S, committed)
            connection.execute("BEGIN IMMEDIATE")
            assert connection.execute(next_one).fetchall() == [], "the lock came too late"
            time.sleep(random.Random(seed).uniform(0.0, 0.3))  # noqa: S311 - a moment to kill at is no secret
        finally:
            daemon.kill()


@pytest.mark.parametrize(
    ("step", "seed"),
    [
        ("alarm", 0),
        ("alarm", 1),
        ("alarm", 2),
        ("measuring", 0),
        ("measured", 0),
        ("request", 0),
        ("draft", 0),
        ("finished", 0),
    ],
)
def test_a_kill_at_any_step_loses_no_explanation(enrolled: Make, tmp_path: Path, step: str, seed: int) -> None:
    """Killed after the alarm, while it is measured, then, while asking, between two answers or after all: told once."""
    port = silent_port()  # nobody listens there until the node was killed
    script = {"request": (stalls(LIVE_S),), "draft": (says(WRONG), stalls(LIVE_S))}.get(step, (says(GOOD),))
    with LlmServer(*script) as llm:
        product = enrolled(GOES_ON, mqtt_port=port, extra=explain(tmp_path, llm.base_url, timeout_s=30.0))
        reached = {
            "measuring": lambda: False,
            "alarm": lambda: rows(product, "SELECT 1 FROM alarms"),
            "measured": lambda: rows(product, f"{FINISHED} AND seq = 0"),
            "request": lambda: llm.requests,
            "draft": lambda: len(llm.requests) == 2,
            "finished": lambda: len(rows(product, FINISHED)) == 2,
        }[step]
        if step == "measuring":
            run_between(product, "SELECT 1 FROM alarms", FINISHED, 7)
        else:
            with product.daemon() as daemon:
                wait_until(reached, LIVE_S, step)
                time.sleep(random.Random(seed).uniform(0.0, 0.2) * min(seed, 1))  # noqa: S311 - a moment to kill at is no secret
                daemon.kill()
        assert product.intact()
        [(alarm_id,)] = product.rows("SELECT alarm_id FROM alarms")
        assert product.rows("SELECT method FROM explanations ORDER BY seq") == [("measured",), ("measured-worded",)]
        committed = queued(product)
        llm.play(says(GOOD))
        product.source = HEALTHY
        with Broker(tmp_path, port=port) as broker, Subscriber(broker.port) as scada:
            with product.daemon() as daemon:
                measured, worded = explanations(scada, 2, LIVE_S)
                assert daemon.stop() == 0
            payloads = [message.payload for message in scada.on(EXPLANATION)]
    assert payloads[: len(committed)] == committed
    assert [(each["alarm_id"], each["seq"]) for each in (measured, worded)] == [(alarm_id, 0), (alarm_id, 1)]
    assert (step, measured["status"]) != ("measuring", "ok")
    if measured["status"] == "ok":
        assert worded["text"] == GOOD
    else:
        assert step in {"alarm", "measuring"}
        assert measured["reason"] == "the node stopped before the sound was measured"
        assert worded["reason"] == "pump: nothing was measured that could be worded"
    asked = [len(request.body["messages"]) for request in llm.requests]
    assert asked == {"request": [1, 1], "draft": [1, 3, 3]}.get(step, [1] * (worded["status"] == "ok"))
    assert product.rows("SELECT count(*) FROM explanations WHERE finished_ms IS NULL") == [(0,)]


def test_a_kill_while_captions_are_decoded_loses_no_explanation(tmp_path: Path) -> None:
    """Killed between what was measured and the first caption: decoded again, asked once for each alarm, told once."""
    write(tmp_path / "state/models/talking")
    write_clips(tmp_path / "healthy", "healthy", pump(240))
    port = silent_port()
    with LlmServer(says(GOOD)) as llm:
        product = Product(
            tmp_path,
            GOES_ON.replace('"rattle"', '"no-flow"'),
            mqtt_port=port,
            bundle="talking",
            extra=explain(tmp_path, llm.base_url, method="combination", requests_per_alarm=1),
        )
        assert product.command("enroll", str(tmp_path / "healthy")).returncode == 0
        run_between(product, f"{FINISHED} AND seq = 0", "SELECT 1 FROM captions", 1)
        assert product.intact()
        alarms = {alarm_id for (alarm_id,) in product.rows("SELECT alarm_id FROM alarms")}
        assert (llm.requests, product.rows("SELECT 1 FROM captions")) == ([], [])
        product.source = '{ kind = "simulator", machine = "pump", take = 2, seconds = 10, pace = 40 }'
        with Broker(tmp_path, port=port), Subscriber(port) as scada:
            assert product.command("run").returncode == 0
            [(now,)] = product.rows("SELECT count(*) FROM alarms")
            told = [each for each in explanations(scada, 2 * now) if each["alarm_id"] in alarms]
    assert sorted((each["alarm_id"], each["seq"]) for each in told) == sorted((a, n) for a in alarms for n in (0, 1))
    worded = [each for each in told if each["seq"] == 1]
    assert {(each["method"], each["text"]) for each in worded} == {("combination", GOOD)}
    assert all(each["caption"].startswith("Sounds like") for each in worded)
    assert len(llm.requests) == now


def test_no_answer_is_paid_for_a_third_time(enrolled: Make, tmp_path: Path) -> None:
    """A node that is killed twice while the LLM answers does not ask again, and says so."""
    port = silent_port()
    with LlmServer(stalls(LIVE_S)) as llm:
        product = enrolled(GOES_ON, mqtt_port=port, extra=explain(tmp_path, llm.base_url, timeout_s=30.0))
        for requests in (1, 2):
            with product.daemon() as daemon:
                wait_until(lambda requests=requests: len(llm.requests) == requests, LIVE_S, "a request")  # type: ignore[misc]
                daemon.kill()
            product.source = HEALTHY
        with Broker(tmp_path, port=port), Subscriber(port) as scada, product.daemon() as daemon:
            worded = explanations(scada, 2, LIVE_S)[1]
            assert daemon.stop() == 0
    assert worded["reason"] == "the node stopped twice while the LLM was asked"
    assert len(llm.requests) == 2


def test_a_week_offline_costs_no_explanation(enrolled: Make, tmp_path: Path) -> None:
    """While nobody listens at the LLM's address nothing is spent; when it is back the sentence comes."""
    port = silent_port()
    address = f"http://127.0.0.1:{port}/v1"
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(FAILING, mqtt_port=broker.port, extra=explain(tmp_path, address, requests_per_alarm=2))
        for _ in range(2):
            assert product.command("run").returncode == 0
            product.source = '{ kind = "simulator", machine = "pump", take = 2, seconds = 30, pace = 40 }'
        explanations(scada, 1)
        assert product.rows("SELECT requests, unanswered FROM explanations WHERE seq = 1") == [(0, 0)]
        assert product.rows("SELECT sum(requests) FROM llm_days") == [(0,)]
        with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
            connection.execute("UPDATE explanations SET created_ms = created_ms - 608400000")  # 7 days and an hour
        with LlmServer(says(GOOD), port=port):
            assert product.command("run").returncode == 0
        assert [each["text"] for each in explanations(scada, 2)[1:]] == [GOOD]


def test_what_waited_too_long_expires(enrolled: Make, tmp_path: Path) -> None:
    """An answer that never came within `expire_h` ends as unavailable, with the last reason."""
    address = f"http://127.0.0.1:{silent_port()}/v1"
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(FAILING, mqtt_port=broker.port, extra=explain(tmp_path, address, expire_h=2.0))
        assert product.command("run").returncode == 0
        with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
            connection.execute("UPDATE explanations SET created_ms = created_ms - 7201000")
        product.source = '{ kind = "simulator", machine = "pump", take = 2, seconds = 30, pace = 40 }'
        assert product.command("run").returncode == 0
        worded = explanations(scada, 2)[1]
    assert worded["status"] == "unavailable"
    assert worded["reason"].startswith("expired: no answer within 2 h")


def test_the_day_s_budget_is_kept(enrolled: Make, tmp_path: Path) -> None:
    """With no request left today the job waits and the LLM is not asked; tomorrow it is."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada, LlmServer(says(GOOD)) as llm:
        product = enrolled(FAILING, mqtt_port=broker.port, extra=explain(tmp_path, llm.base_url, requests_per_day=1))
        with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
            connection.execute("INSERT INTO llm_days VALUES (strftime('%Y-%m-%d', 'now'), 1)")
        assert product.command("run").returncode == 0
        assert (len(explanations(scada, 1)), llm.requests) == (1, [])
        with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
            connection.execute("UPDATE llm_days SET day = '2026-01-01'")
        product.source = '{ kind = "simulator", machine = "pump", take = 2, seconds = 30, pace = 40 }'
        assert product.command("run").returncode == 0
        assert explanations(scada, 2)[1]["text"] == GOOD


def test_jobs_of_a_machine_that_is_gone_end(enrolled: Make, tmp_path: Path) -> None:
    """A machine that is taken out of the configuration leaves no job waiting, and nothing is asked for it."""
    with Broker(tmp_path) as broker, Subscriber(broker.port), LlmServer(says(GOOD)) as llm:
        product = enrolled(
            FAILING, mqtt_port=broker.port, extra=explain(tmp_path, f"http://127.0.0.1:{silent_port()}/v1")
        )
        assert product.command("run").returncode == 0
        with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
            connection.execute("UPDATE alarms SET machine = 'fan', ended_ms = started_ms")
        product.source = '{ kind = "simulator", machine = "pump", take = 2, seconds = 30, pace = 40 }'
        product.extra = explain(tmp_path, llm.base_url)
        assert product.command("run").returncode == 0
        assert llm.requests == []
    assert product.rows("SELECT text, reason FROM explanations WHERE seq = 1") == [
        (None, "the machine is no longer in the configuration")
    ]


def test_a_stalling_llm_does_not_delay_the_stop(enrolled: Make, tmp_path: Path) -> None:
    """SIGTERM while the LLM says nothing ends the node within 5 s with code 0; the job waits for the next run."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada, LlmServer(stalls(LIVE_S)) as llm:
        product = enrolled(GOES_ON, mqtt_port=broker.port, extra=explain(tmp_path, llm.base_url, timeout_s=60.0))
        with product.daemon() as daemon:
            wait_until(lambda: llm.requests, LIVE_S, "a request")
            assert daemon.stop() == 0
        assert [each["method"] for each in explanations(scada, 1)] == ["measured"]
        scada.wait_for(f"{BASE}/status", 2)
    assert product.rows("SELECT method FROM explanations WHERE finished_ms IS NULL") == [("measured-worded",)]
