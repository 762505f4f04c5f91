"""An alarm is worded once it was measured, by one LLM server, or ends with the reason why it was not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.alarm import history
from edge_monitor.config.settings import ExplainSettings
from edge_monitor.explain import jobs
from edge_monitor.node.prompt_maker import Prompt
from edge_monitor.records import Embedding, Explanation
from edge_monitor.runtime.explanation_recorder import ExplanationRecorder
from edge_monitor.runtime.wording_worker import WordingWorker
from tests.broker import wait_until
from tests.llm_server import GOOD, LlmServer, says
from tests.runtime.parts import MESSAGES, NOW_MS, PUMP, alarm, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.store.store import Store

    Make = Callable[..., WordingWorker]
WORDED = "SELECT text, reason FROM explanations WHERE method = 'combination'"


class Prompts:
    """Asks the same whatever the sound."""

    def prompt(self, *_: object) -> Prompt:
        """Return it."""
        return Prompt("How does it differ?", "a pump knocks")


@pytest.fixture
def llm() -> Iterator[LlmServer]:
    """Return a server that answers well."""
    with LlmServer(says(GOOD)) as server:
        yield server


@pytest.fixture
def make(store: Store, llm: LlmServer) -> Make:
    """Make a worker with one alarm that is neither measured nor worded; takes the machines and further settings."""
    embedding = Embedding(np.ones(4, dtype=np.float32), "a bundle")
    store.commit(lambda to: history.record(to, alarm()))
    store.commit(lambda to: jobs.create(to, "alarm-1", ("measured", "combination"), NOW_MS))
    store.commit(lambda to: history.add_windows(to, "alarm-1", [history.AnomalousWindow(0.0, 10.0, -30.0, embedding)]))

    def build(machines: dict[str, MachineSettings], *, now_ms: int = NOW_MS, **settings: object) -> WordingWorker:
        table = ExplainSettings.model_validate({"llm": "openai", "base_url": llm.base_url} | settings)
        stopping = threading.Event()
        recorder = ExplanationRecorder(store, MESSAGES, stopping, lambda: None)
        return WordingWorker(table, store, machines, Prompts(), recorder, lambda: now_ms, stopping)  # type: ignore[arg-type]  # of a PromptMaker only `prompt` is used

    return build


def test_an_alarm_is_worded_once_it_was_measured(store: Store, make: Make, llm: LlmServer) -> None:
    """Until then nothing is asked; afterwards one request, whose answer is recorded with its caption."""
    worker = make({"pump": PUMP})
    worker.thread.start()
    wait_until(lambda: worker.idle, 10.0, "the first look")
    assert not llm.requests
    worker.recorder.record(Explanation("alarm-1", "pump", 0, "measured", 1, "A tone at 3 kHz."))
    worker.wake()
    wait_until(lambda: rows(store, WORDED) == [(GOOD, "")], 20.0, "the wording")
    worker.close()
    assert [each.prompt for each in llm.requests] == ["How does it differ?"]
    assert rows(store, "SELECT caption FROM explanations WHERE method = 'combination'") == [("a pump knocks",)]


@pytest.mark.parametrize(
    ("machines", "settings", "reason"),
    [
        ({}, {}, "the machine is no longer in the configuration"),
        ({"pump": PUMP}, {"llm": "off"}, 'no LLM is configured any more: explain.llm = "off"'),
        ({"pump": PUMP}, {"expire_h": 1.0, "now_ms": NOW_MS + 3_601_000}, "expired: no answer within 1 h"),
    ],
)
def test_what_cannot_be_worded_any_more_ends_with_its_reason(
    make: Make, llm: LlmServer, machines: dict[str, MachineSettings], settings: dict[str, int], reason: str
) -> None:
    """Nothing is asked for it, and nothing waits."""
    worker = make(machines, **settings)
    worker.recorder.record(Explanation("alarm-1", "pump", 0, "measured", 1, "A tone at 3 kHz."))
    worker.thread.start()
    wait_until(lambda: worker.idle, 20.0, "the end")
    worker.close()
    assert rows(worker.store, WORDED) == [(None, reason)]
    assert (len(llm.requests), worker.waiting) == (0, 0)
