"""One worded explanation through the real client: its outcome, its requests, what is counted, how long it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edge_monitor.config.settings import ExplainSettings
from edge_monitor.errors import BudgetSpentError, LlmError
from edge_monitor.explain import prompts
from edge_monitor.explain.answer import Answer
from edge_monitor.explain.llm import LlmClient
from edge_monitor.explain.wording import word
from tests import llm_server
from tests.broker import free_port
from tests.llm_server import GOOD, INJECTION, WRONG, LlmServer, Request

if TYPE_CHECKING:
    from tests.llm_server import Behaviour

PROMPT = "Begin. How does it differ?"
BIG = llm_server.completion("x" * 1_000_000)


@dataclass
class Attempt:
    """One call of `word`, with what its callbacks were told; sleeping takes no time but moves the clock."""

    budget: int = 100
    asleep_s: list[float] = field(default_factory=list)
    account: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    took_s: float = 0.0

    def debit(self) -> None:
        """Count a request."""
        if self.account.count("debit") == self.budget:
            raise BudgetSpentError("spent")
        self.account.append("debit")

    def clock(self) -> float:
        """Return monotonic seconds with what was slept."""
        return time.monotonic() + sum(self.asleep_s)

    def against(
        self, *script: Behaviour, timeout_s: float = 30.0, deadline_s: float = 120.0, draft: str | None = None
    ) -> Answer:
        """Ask a server that follows a script."""
        with LlmServer(*script) as server:
            try:
                return self.at(server.base_url, timeout_s=timeout_s, deadline_s=deadline_s, draft=draft)
            finally:
                self.requests = server.requests

    def at(
        self, base_url: str, *, timeout_s: float = 30.0, deadline_s: float = 120.0, draft: str | None = None
    ) -> Answer:
        """Ask whatever is at an address."""
        client = LlmClient(ExplainSettings(llm="openai", base_url=base_url, timeout_s=timeout_s))
        begin_s = time.monotonic()
        try:
            return word(
                client.ask,
                PROMPT,
                debit=self.debit,
                deadline_s=deadline_s,
                sleep=self.asleep_s.append,
                clock=self.clock,
                came_back=lambda text: self.account.append("failed" if text is None else f"draft: {text}"),
                give_back=lambda: self.account.append("given back"),
                draft=draft,
            )
        finally:
            self.took_s = time.monotonic() - begin_s


def fails(attempt: Attempt, *script: Behaviour, timeout_s: float = 30.0, deadline_s: float = 120.0) -> LlmError:
    """Return the error an attempt ends with."""
    with pytest.raises(LlmError) as caught:
        attempt.against(*script, timeout_s=timeout_s, deadline_s=deadline_s)
    return caught.value


def test_a_good_answer_takes_one_request() -> None:
    """Asked with the prompt alone, counted once."""
    attempt = Attempt()
    assert attempt.against(llm_server.says(GOOD)) == Answer(GOOD, format_ok=True)
    assert [request.body["messages"] for request in attempt.requests] == [[{"role": "user", "content": PROMPT}]]
    assert attempt.account == ["debit"]
    assert attempt.asleep_s == []


@pytest.mark.parametrize(
    "bad",
    [
        llm_server.refuses(429),
        llm_server.refuses(500),
        llm_server.refuses(502),
        llm_server.refuses(503),
        llm_server.refuses(504),
        llm_server.resets(),
        llm_server.says(""),
        llm_server.sends(BIG),
        llm_server.sends(b'{"choices": ['),
    ],
    ids=["429", "500", "502", "503", "504", "reset", "empty", "1 MB", "invalid JSON"],
)
def test_one_bad_moment_is_waited_out(bad: Behaviour) -> None:
    """After a second or so the next request brings the answer."""
    attempt = Attempt()
    assert attempt.against(bad, llm_server.says(GOOD)) == Answer(GOOD, format_ok=True)
    assert len(attempt.requests) == 2
    assert attempt.account == ["debit", "failed", "debit"]
    (pause_s,) = attempt.asleep_s
    assert 0.5 <= pause_s <= 1.5
    assert attempt.took_s < 5.0


@pytest.mark.parametrize(
    "bad", [llm_server.refuses(429), llm_server.refuses(500), llm_server.resets()], ids=["429", "500", "reset"]
)
def test_three_bad_moments_end_the_attempt_but_not_the_job(bad: Behaviour) -> None:
    """The pause grows and is never the same; a later attempt may succeed."""
    attempt = Attempt()
    assert fails(attempt, bad).retryable
    assert len(attempt.requests) == 3
    assert attempt.account == ["debit", "failed"] * 3
    first_s, second_s = attempt.asleep_s
    assert 0.5 <= first_s <= 1.5
    assert 1.0 <= second_s <= 3.0
    assert attempt.took_s < 5.0


def test_pauses_differ_from_node_to_node() -> None:
    """A whole plant that was refused at once does not come back at once."""
    pauses = set()
    for _ in range(4):
        attempt = Attempt()
        attempt.against(llm_server.refuses(429, retry_after="5"), llm_server.says(GOOD))
        pauses.add(attempt.asleep_s[0])
    assert len(pauses) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_mistake_in_the_request_is_not_repeated(status: int) -> None:
    """The same request would be refused again."""
    attempt = Attempt()
    assert not fails(attempt, llm_server.refuses(status)).retryable
    assert len(attempt.requests) == 1
    assert attempt.account == ["debit", "failed"]
    assert attempt.asleep_s == []


@pytest.mark.parametrize("retry_after", ["20", "date"])
def test_the_server_is_left_alone_for_as_long_as_it_asks(retry_after: str) -> None:
    """Retry-After in seconds and as a time of day."""
    if retry_after == "date":
        retry_after = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 20))
    attempt = Attempt()
    answer = attempt.against(llm_server.refuses(429, retry_after=retry_after), llm_server.says(GOOD))
    assert answer == Answer(GOOD, format_ok=True)
    assert 18.5 <= attempt.asleep_s[0] <= 21.5  # a time of day has whole seconds
    assert len(attempt.requests) == 2


def test_a_rest_beyond_the_deadline_ends_the_attempt_at_once() -> None:
    """The wish is handed on, for the next attempt to heed."""
    attempt = Attempt()
    error = fails(attempt, llm_server.refuses(429, retry_after="121"))
    assert (error.retryable, error.after_s) == (True, 121.0)
    assert len(attempt.requests) == 1
    assert attempt.asleep_s == []


def test_a_server_that_stalls_for_a_minute_costs_the_timeout_each_time() -> None:
    """Three requests of a second each, not three minutes."""
    attempt = Attempt()
    error = fails(attempt, llm_server.stalls(60), timeout_s=1.0)
    assert (error.retryable, error.message) == (True, "the LLM's server did not answer in time")
    assert attempt.account == ["debit", "failed"] * 3
    assert attempt.took_s < 5.0


def test_the_deadline_cuts_the_last_request_short() -> None:
    """The timeout of a request never reaches beyond the attempt's end."""
    attempt = Attempt()
    error = fails(attempt, llm_server.stalls(60), timeout_s=30.0, deadline_s=1.0)
    assert error.retryable
    assert len(attempt.requests) == 1
    assert attempt.took_s < 2.5


@pytest.mark.parametrize(
    ("useless", "message"),
    [
        (llm_server.says(""), "the LLM answered nothing"),
        (llm_server.sends(BIG), "the LLM's answer is longer than 65536 bytes"),
        (
            llm_server.sends(b'{"choices": ['),
            "the LLM's server answered with something else than a chat completion",
        ),
    ],
    ids=["empty", "1 MB", "invalid JSON"],
)
def test_two_useless_answers_are_enough(useless: Behaviour, message: str) -> None:
    """Each may have been paid for: there is no third, now or later."""
    attempt = Attempt()
    error = fails(attempt, useless)
    assert (error.message, error.retryable) == (message, False)
    assert len(attempt.requests) == 2
    assert attempt.account == ["debit", "failed"] * 2
    assert attempt.took_s < 5.0


def test_control_characters_do_not_pass() -> None:
    """An answer in the right form stays so without them."""
    attempt = Attempt()
    answer = attempt.against(llm_server.says("This sound is\x00 \x1b]0;x\x07rough\u202e.\r\n"))
    assert answer == Answer("This sound is ]0;x rough.", format_ok=True)
    assert len(attempt.requests) == 1


def test_a_wrong_form_is_corrected_once() -> None:
    """The correction is asked for in the same conversation, after the first answer is kept."""
    attempt = Attempt()
    answer = attempt.against(llm_server.says(WRONG), llm_server.says(GOOD))
    assert answer == Answer(GOOD, format_ok=True)
    assert attempt.account == ["debit", f"draft: {WRONG}", "debit"]
    assert attempt.requests[1].body["messages"] == [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": WRONG},
        {"role": "user", "content": prompts.corrective()},
    ]


def test_a_wrong_form_twice_is_told_as_such() -> None:
    """There is no third request."""
    attempt = Attempt()
    assert attempt.against(llm_server.says(WRONG), llm_server.says("No.")) == Answer("No.", format_ok=False)
    assert len(attempt.requests) == 2


def test_an_instruction_in_the_answer_is_only_text() -> None:
    """It is corrected like any wrong form, and then told as what the LLM said."""
    attempt = Attempt()
    assert attempt.against(llm_server.says(INJECTION)) == Answer(INJECTION, format_ok=False)
    assert attempt.account == ["debit", f"draft: {INJECTION}", "debit"]


@pytest.mark.parametrize(
    "bad",
    [
        llm_server.refuses(429, retry_after="1"),
        llm_server.refuses(500),
        llm_server.refuses(401),
        llm_server.resets(),
        llm_server.says(""),
        llm_server.sends(BIG),
    ],
    ids=["429", "500", "401", "reset", "empty", "1 MB"],
)
def test_when_the_correction_fails_the_first_answer_holds(bad: Behaviour) -> None:
    """It is paid for, and better than nothing; the correction is asked for once."""
    attempt = Attempt()
    assert attempt.against(llm_server.says(WRONG), bad) == Answer(WRONG, format_ok=False)
    assert attempt.account == ["debit", f"draft: {WRONG}", "debit", "failed"]
    assert attempt.asleep_s == []


def test_a_kept_draft_needs_the_correction_alone() -> None:
    """After a restart the first answer is not paid for again."""
    attempt = Attempt()
    assert attempt.against(llm_server.says(GOOD), draft=WRONG) == Answer(GOOD, format_ok=True)
    assert [message["content"] for message in attempt.requests[0].body["messages"]] == [
        PROMPT,
        WRONG,
        prompts.corrective(),
    ]
    assert attempt.account == ["debit"]


def test_nothing_is_asked_without_a_budget() -> None:
    """The debit comes before the request."""
    attempt = Attempt(budget=0)
    with pytest.raises(BudgetSpentError):
        attempt.against(llm_server.says(GOOD))
    assert attempt.requests == []


def test_a_budget_that_ends_between_two_tries_ends_the_attempt() -> None:
    """Exactly as many requests go out as may."""
    attempt = Attempt(budget=2)
    with pytest.raises(BudgetSpentError):
        attempt.against(llm_server.refuses(500))
    assert len(attempt.requests) == 2


def test_a_budget_that_ends_before_the_correction_leaves_the_first_answer() -> None:
    """It is told, in its wrong form."""
    attempt = Attempt(budget=1)
    assert attempt.against(llm_server.says(WRONG)) == Answer(WRONG, format_ok=False)
    assert len(attempt.requests) == 1


def test_a_server_that_is_not_there_costs_no_budget() -> None:
    """Every debit is given back, however long the outage."""
    attempt = Attempt()
    with pytest.raises(LlmError) as caught:
        attempt.at(f"http://127.0.0.1:{free_port()}/v1")
    assert caught.value.retryable
    assert attempt.account == ["debit", "given back"] * 3


def test_a_sleep_may_end_the_attempt() -> None:
    """The node stops without waiting for a pause to pass."""

    class StoppingError(Exception):
        """The node stops."""

    def stop(_: float) -> None:
        raise StoppingError

    with LlmServer(llm_server.refuses(500)) as server, pytest.raises(StoppingError):
        word(
            LlmClient(ExplainSettings(llm="openai", base_url=server.base_url)).ask,
            PROMPT,
            debit=lambda: None,
            deadline_s=60.0,
            sleep=stop,
            clock=time.monotonic,
        )
    assert len(server.requests) == 1
