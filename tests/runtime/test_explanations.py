"""Explanations through the whole node: sound, daemon, a real mosquitto, a real HTTP server that plays the LLM."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.broker import Broker, Subscriber
from tests.encode.talking import write
from tests.explained import BASE, EXPLANATION, FAILING, assert_secret, explain, explanations
from tests.llm_server import GOOD, INJECTION, WRONG, LlmServer, completion, refuses, resets, says, sends, stalls
from tests.product import Product
from tests.runtime.test_end_to_end import check_contract
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.broker import Received
    from tests.llm_server import Behaviour

    Make = Callable[..., Product]
    Seen = dict[str, Any]

VOLATILE = {  # ids and times
    "at",
    "at_ms",
    "since",
    "since_ms",
    "valid_until_ms",
    "started_ms",
    "uptime_s",
    "alerts_oldest_s",
    "clock_synced",
    "alarm_id",
    "evidence",
}
MOMENTARY = {"score", "ratio", "text"}  # of a state, when it leaves: on a busy box a window later
RAW = "This sound is \x1b[31mrough\u202e and\x00 loud.\r\n"
SPENT = "no answer to 3 requests, which is the limit for one alarm; last: the LLM's server "

BEHAVIOURS: dict[str, tuple[tuple[Behaviour, ...], str | None, int | None, str, int]] = {
    # name: what the server does; text, format_ok and reason of what is published; requests
    "success": ((says(GOOD),), GOOD, 1, "", 1),
    "429, then success": ((refuses(429, retry_after="1"), says(GOOD)), GOOD, 1, "", 2),
    "500": ((refuses(500),), None, None, f"{SPENT}answered 500 (Internal Server Error)", 3),
    "reset": ((resets(),), None, None, f"{SPENT}broke the connection", 3),
    "stall": ((stalls(60.0),), None, None, f"{SPENT}did not answer in time", 3),
    "empty": ((says(""),), None, None, "the LLM answered nothing", 2),
    "1 MB": ((sends(completion("x" * 1_000_000)),), None, None, "the LLM's answer is longer than 65536 bytes", 2),
    "invalid JSON": (
        (sends(b'{"choices": ['),),
        None,
        None,
        "the LLM's server answered with something else than a chat completion",
        2,
    ),
    "control characters": ((says(RAW),), "This sound is [31mrough and loud.", 1, "", 1),
    "injection": ((says(INJECTION),), INJECTION, 0, "", 2),
    "wrong, then right": ((says(WRONG), says(GOOD)), GOOD, 1, "", 2),
    "key refused": ((refuses(401),), None, None, "the LLM's server answered 401 (Unauthorized) (check the key)", 1),
}


def lasting(message: Received) -> dict[str, Any]:
    """Return what a message says but ids and times."""
    return {name: value for name, value in json.loads(message.payload).items() if name not in VOLATILE}


def seen(scada: Subscriber) -> Seen:
    """Return what a plant sees beside explanations."""
    status = lasting(scada.wait_for(f"{BASE}/status", 2)[-1])
    states = [
        {name: value for name, value in lasting(message).items() if name not in MOMENTARY}
        for message in scada.on(f"{BASE}/pump/state")
    ]
    kinds = [(each["state"], each["alarm"]) for each in states]  # a state is told again each minute
    return {
        "alerts": [lasting(message) for message in scada.on(f"{BASE}/pump/alert")],
        "states": [each for place, each in enumerate(states) if place == 0 or kinds[place - 1] != kinds[place]],
        "status": {name: value for name, value in status.items() if not name.startswith("explanations_")},
        "topics": {message.topic for message in scada.messages} - {EXPLANATION},
    }


def latency_s(scada: Subscriber) -> float:
    """Return how long after its event the first alert came, seconds."""
    alert = scada.on(f"{BASE}/pump/alert")[0]
    came_s = time.time() - (time.monotonic_ns() - alert.at_ns) / 1e9
    return came_s - float(json.loads(alert.payload)["at_ms"]) / 1e3


@pytest.fixture(scope="module")
def unexplained(tmp_path_factory: pytest.TempPathFactory, enrolled_state: Path) -> Seen:
    """Return what a plant sees of a failing pump when no LLM is configured."""
    folder = tmp_path_factory.mktemp("unexplained")
    shutil.copytree(enrolled_state, folder / "state")
    with Broker(folder) as broker, Subscriber(broker.port) as scada:
        assert Product(folder, FAILING, mqtt_port=broker.port).command("run").returncode == 0
        return seen(scada)


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_whatever_the_llm_does_the_plant_sees_the_same_alarm(
    enrolled: Make, tmp_path: Path, unexplained: Seen, name: str
) -> None:
    """The alert comes at once, state and losses are those of a run without an LLM, and the outcome is published."""
    script, text, format_ok, reason, requests = BEHAVIOURS[name]
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada, LlmServer(*script) as llm:
        timeout_s = 1.0 if name == "stall" else 5.0  # an answer that is only slow on a busy box is no misbehaviour
        extra = explain(tmp_path, llm.base_url, requests_per_alarm=3, timeout_s=timeout_s)
        product = enrolled(FAILING, mqtt_port=broker.port, extra=extra)
        with product.daemon() as daemon:
            assert daemon.process.wait(30) == 0
        measured, worded = explanations(scada, 2)
        assert seen(scada) == unexplained
        check_contract(scada.messages)
        assert len(llm.requests) == requests
        assert_secret(product, scada)
    [alert] = unexplained["alerts"]
    assert alert["event"] == "start"
    assert [(each["state"], each["alarm"]) for each in unexplained["states"]] == [
        ("starting", 0),
        ("normal", 0),
        ("alarm", 1),
    ]
    assert latency_s(scada) < 2.0
    assert (measured["seq"], measured["method"], measured["status"]) == (0, "measured", "ok")
    assert (worded["seq"], worded["method"]) == (1, "measured-worded")
    assert (worded["status"], worded["text"]) == (("unavailable", "") if text is None else ("ok", text))
    assert worded.get("format_ok") == format_ok
    assert worded["reason"] == reason
    assert product.rows("SELECT requests FROM llm_days") == [(requests,)]


def test_without_an_llm_the_measured_explanation_comes_alone(enrolled: Make, tmp_path: Path) -> None:
    """A rattle is told in figures with findings and evidence, and `alarms show` has the very same sentence."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(FAILING, mqtt_port=broker.port)
        assert product.command("run").returncode == 0
        [told] = explanations(scada, 1)
    [alarm] = product.answer("alarms list")
    assert told["alarm_id"] == alarm["alarm_id"]
    assert told["findings"] >= 1
    assert told["finding_1_text"][:10].lower() in told["text"].lower()
    assert told["evidence"] == f"pump/{alarm['alarm_id']}.png"
    assert told["latency_s"] < 5.0
    assert product.rows("SELECT method, text FROM explanations") == [("measured", told["text"])]


def test_evidence_off_keeps_no_figures_and_still_tells(enrolled: Make, tmp_path: Path) -> None:
    """With evidence = "off" the sentence is published; neither picture nor acoustics stay."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(FAILING, mqtt_port=broker.port, extra='evidence = "off"')
        assert product.command("run").returncode == 0
        [told] = explanations(scada, 1)
    assert told["status"] == "ok"
    assert "evidence" not in told
    assert product.rows("SELECT acoustics FROM explanations") == [(None,)]
    assert not (product.state / "evidence").exists()


def test_normals_that_were_never_measured_are_named_and_can_be_measured(
    enrolled: Make, tmp_path: Path, healthy_clips: Path
) -> None:
    """Normals of an older version give `unavailable` with the command that helps, and that command helps."""
    import sqlite3

    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(FAILING, mqtt_port=broker.port)
        with sqlite3.connect(product.state / "edge-monitor.db") as connection:
            connection.execute("UPDATE normals SET descriptors = '{\"quietest_dbfs\": -30.0}'")
        connection.close()
        assert product.command("run").returncode == 0
        [told] = explanations(scada, 1)
        assert told["reason"] == (
            "pump: only 0 of 60 normals were measured when they were enrolled"
            " (`edge-monitor enroll --anew RECORDINGS` measures them)"
        )
        assert product.answer("enroll --anew", str(healthy_clips))["normals"] == 60
        product.source = FAILING.replace("take = 1", "take = 2")
        with sqlite3.connect(product.state / "edge-monitor.db") as connection:
            connection.execute("UPDATE alarms SET ended_ms = started_ms")
        connection.close()
        assert product.command("run").returncode == 0
        assert explanations(scada, 2)[1]["status"] == "ok"


def test_a_talking_bundle_has_its_captions_worded(tmp_path: Path) -> None:
    """With captions and texts the combination is asked, the caption published, and nothing decoded twice."""
    write(tmp_path / "state/models/talking")
    write_clips(tmp_path / "healthy", "healthy", pump(240))
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada, LlmServer(says(GOOD)) as llm:
        product = Product(
            tmp_path, FAILING, mqtt_port=broker.port, bundle="talking", extra=explain(tmp_path, llm.base_url)
        )
        assert product.command("enroll", str(tmp_path / "healthy")).returncode == 0
        product.source = FAILING.replace('"rattle"', '"no-flow"')
        assert product.command("run").returncode == 0
        [(alarms,)] = product.rows("SELECT count(*) FROM alarms")  # 1.5 s windows: it comes and goes
        told = explanations(scada, 2 * alarms)
        request = llm.requests[0]
    measured = next(each for each in told if each["seq"] == 0)
    worded = next(each for each in told if each["seq"] == 1)
    assert "too short to measure" in measured["reason"]
    assert (worded["method"], worded["text"]) == ("combination", GOOD)
    assert worded["caption"].startswith("Sounds like")
    assert worded["caption"].rstrip(".") in request.prompt
    assert "Vibration" in request.prompt
    [(captions,)] = product.rows("SELECT count(*) FROM captions")
    assert 2 <= captions <= 5 * alarms
