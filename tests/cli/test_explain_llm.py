"""`explain` asks the LLM by hand: within the budgets, with nothing published, and with one line when it fails."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from edge_monitor.config.file import load_settings
from edge_monitor.errors import ControlError
from edge_monitor.node.explaining import explain_alarm
from edge_monitor.node.explanations import ExplainAlarm
from edge_monitor.node.node import Node
from tests.cli.explaining import KEY, LLM, alarm_id, refusal, with_llm
from tests.llm_server import GOOD, LlmServer, refuses

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.explaining import Make


def test_the_llm_words_it_by_hand_and_nothing_is_published(node: Make, llm: LlmServer) -> None:
    """One request that counts for the day; no row of an explanation, no message, no key in what is printed."""
    product = node(**with_llm(llm))
    stored = product.rows("SELECT alarm_id, seq, method, finished_ms, text, reason FROM explanations")
    path = str(product.folder / "faulty_000.wav")
    prompt = product.command("explain", path, "--dry-run")
    assert (prompt.returncode, llm.requests) == (0, [])
    assert prompt.stdout.startswith('Begin your output sentence with "This sound is"')
    assert "of Cooling pump from its nearest normal sounds were measured: " in prompt.stdout
    shown = product.command("explain", path)
    assert shown.returncode == 0
    assert f"\nplayed, measured-worded: {GOOD}\n" in shown.stdout
    assert "asking played" in shown.stderr
    [request] = llm.requests
    assert "\r\n" in request.prompt
    assert prompt.stdout == request.prompt.replace("\r\n", "\n") + "\n"  # as a text stream is read
    assert product.answer("explain", path, "--dry-run")["prompt"] == request.prompt
    assert request.headers["authorization"] == f"Bearer {KEY}"
    alarm = product.answer("explain", alarm_id(product), "--method", "measured-worded")
    assert (alarm["worded"]["text"], alarm["worded"]["format_ok"]) == (GOOD, True)
    assert product.rows("SELECT requests FROM llm_days") == [(2,)]
    assert product.rows("SELECT alarm_id, seq, method, finished_ms, text, reason FROM explanations") == stored
    assert product.rows("SELECT count(*) FROM outbox") == [(0,)]
    assert KEY not in shown.stdout + shown.stderr + prompt.stdout + json.dumps(alarm)


def test_a_failing_llm_costs_no_figures(node: Make) -> None:
    """What was measured is printed; why there are no words is one line on standard error, with the exit code."""
    with LlmServer(refuses(401)) as llm:
        product = node(**with_llm(llm))
        done = product.command("explain", str(product.folder / "faulty_000.wav"))
    assert done.returncode == 1
    assert "mpulses at " in done.stdout
    assert "edge-monitor: " in done.stderr.splitlines()[-1]
    assert KEY not in done.stdout + done.stderr


def test_the_days_budget_holds_by_hand_too(node: Make, llm: LlmServer) -> None:
    """The second request of a day with one is not sent."""
    product = node(**with_llm(llm, per_day=1))
    path = str(product.folder / "faulty_000.wav")
    assert product.command("explain", path).returncode == 0
    done = product.command("explain", path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "edge-monitor: the day's 1 requests to the LLM are spent (explain.requests_per_day sets how many there are)"
    )
    assert len(llm.requests) == 1


def test_the_alarms_budget_holds_by_hand_too(node: Make, llm: LlmServer) -> None:
    """The third request for an alarm with two is not sent; another sound may still be asked about."""
    product = node(**with_llm(llm))
    alarm = alarm_id(product)
    for _ in range(2):
        assert product.command("explain", alarm, "--method", "auto").returncode == 0
    done = product.command("explain", alarm, "--method", "auto")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "edge-monitor: the alarm's 2 requests to the LLM are spent (explain.requests_per_alarm sets how many there are)"
    )
    assert len(llm.requests) == 2
    assert product.command("explain", str(product.folder / "faulty_000.wav")).returncode == 0


def test_a_server_that_cannot_be_reached_costs_nothing_of_the_budgets(node: Make) -> None:
    """Neither the day nor the alarm is charged for requests that nobody received."""
    fields = {"extra": LLM.format(url="http://127.0.0.1:9/v1", per_day=4), "environment": {"CANARY": KEY}}
    product = node(**fields)
    done = product.command("explain", alarm_id(product), "--method", "auto")
    assert done.returncode == 1
    assert "the LLM's server cannot be reached: Connection refused" in done.stderr.splitlines()[-1]
    assert product.rows("SELECT requests FROM llm_days") == [(0,)]
    assert product.rows("SELECT sum(requests) FROM explanations") == [(0,)]


def test_the_llm_is_not_asked_again_for_somebody_who_has_gone(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server is down for a moment; nobody waits for the second try, which is not made."""
    monkeypatch.setenv("CANARY", KEY)
    with LlmServer(refuses(503)) as llm:
        product = node(**with_llm(llm))
        request = ExplainAlarm(alarm_id=alarm_id(product), method="auto")
        steps = explain_alarm(Node(load_settings(product.config)), request, lambda: True)
        assert next(steps).text == "asking played"
        with pytest.raises(ControlError, match="nobody waits"):
            next(steps)
    assert len(llm.requests) == 1


def test_a_running_daemon_is_asked_and_asks_the_llm(node: Make, llm: LlmServer) -> None:
    """The command knows no key; the daemon has it."""
    fields = with_llm(llm)
    product = node(**fields)
    product.source = '{ kind = "simulator", take = 1, pace = "realtime" }'
    path = str(product.folder / "faulty_000.wav")
    with product.daemon():
        product.environment = {}
        told = product.answer("explain", path)
        assert told["worded"]["text"] == GOOD
        again = product.answer("explain", alarm_id(product), "--method", "measured")
        assert "mpulses at " in again["text"]
        assert ("worded" in again, "prompt" in again) == (True, False)
        assert refusal(product, "0000") == "edge-monitor: 0000: no such alarm (`edge-monitor alarms list` shows them)"


def test_a_missing_package_is_one_line_with_the_way_to_it(node: Make, llm: LlmServer, tmp_path: Path) -> None:
    """Without the extra [llm] the figures are there, and how to get the rest."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/openai.py").write_text("raise ImportError")
    product = node(**with_llm(llm))
    path = f"{tmp_path / 'hidden'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    product.environment = {**product.environment, "PYTHONPATH": path}
    done = product.command("explain", str(product.folder / "faulty_000.wav"))
    assert done.returncode == 1
    assert "mpulses at " in done.stdout
    assert done.stderr.splitlines()[-1] == (
        "edge-monitor: the openai package is not installed (pip install 'edge-monitor[llm]')"
    )
