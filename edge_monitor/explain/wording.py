"""One worded explanation: asked for, asked again when that may help, corrected once, within a deadline and a budget."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from edge_monitor.errors import BudgetSpentError, LlmError, UselessAnswerError
from edge_monitor.explain import prompts
from edge_monitor.explain.answer import Answer, read
from edge_monitor.explain.llm import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TRIES = 3  # as the openai client's own default of two retries; a job's later attempts share the alarm's budget
FIRST_PAUSE_S = 1.0
MOST_USELESS = 2  # answers that came and cannot be used; each may have been paid for
_RANDOM = random.SystemRandom()


class Ask(Protocol):
    """One request to an LLM, e.g. `LlmClient.ask`. Raises LlmError."""

    def __call__(self, messages: Sequence[Message], timeout_s: float) -> str:
        """Return the answer's raw text within about `timeout_s` seconds."""


def word(
    ask: Ask,
    prompt: str,
    *,
    debit: Callable[[], None],
    deadline_s: float,
    sleep: Callable[[float], object],
    clock: Callable[[], float],
    came_back: Callable[[str | None], None] = lambda _: None,
    give_back: Callable[[], None] = lambda: None,
    draft: str | None = None,
) -> Answer:
    """Return what the LLM says to a prompt; with `format_ok` False when it keeps to no form even when corrected.

    `debit` is called before every request and raises BudgetSpentError when there may be no more. Each debit is followed
    by the returned answer, or by one of: `give_back()`, the request never reached the server; `came_back(None)`, it
    failed; `came_back(text)`, it brought an answer in the wrong form, which is worth keeping: a later call takes it as
    `draft` and asks for the correction alone. The correction is one request; if it fails, the first answer holds.

    `clock` is monotonic seconds; `sleep` may raise to end early. Raises BudgetSpentError, and LlmError when there is no
    answer within `deadline_s` and three tries (`retryable`: a later call may bring one, but not before `after_s`).
    """
    end_s = clock() + deadline_s

    def request(*messages: Message) -> str:
        debit()
        try:
            return ask(messages, end_s - clock())
        except LlmError as error:
            came_back(None) if error.sent else give_back()
            raise

    question = Message("user", prompt)
    if draft is None:
        first = read(_insist(lambda: request(question), left_s=lambda: end_s - clock(), sleep=sleep))
        if first.format_ok:
            return first
        came_back(first.text)
    else:
        first = read(draft)
    if clock() >= end_s:
        return first
    try:
        return read(request(question, Message("assistant", first.text), Message("user", prompts.corrective())))
    except (BudgetSpentError, LlmError):
        return first


def _insist(request: Callable[[], str], *, left_s: Callable[[], float], sleep: Callable[[float], object]) -> str:
    """Return what one of three requests brings, with a growing, jittered pause between them."""
    useless = 0
    for tried in range(1, TRIES + 1):
        try:
            return request()
        except LlmError as error:
            useless += isinstance(error, UselessAnswerError)
            if useless == MOST_USELESS:
                raise LlmError(error.message, retryable=False) from error
            # The jitter keeps many nodes, all told the same Retry-After, from coming back together.
            pause_s = (error.after_s or 0.0) + FIRST_PAUSE_S * 2 ** (tried - 1) * _RANDOM.uniform(0.5, 1.5)
            if not error.retryable or tried == TRIES or pause_s >= left_s():
                raise
        sleep(pause_s)
    raise AssertionError  # the last try returns or raises
