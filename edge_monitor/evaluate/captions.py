"""What each method says of a sound: the measured sentence, and the ones an LLM words, as far as they can be had."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.encode.captioner import Captioner
from edge_monitor.encode.similarity import TextSimilarity
from edge_monitor.errors import BudgetSpentError, LlmError
from edge_monitor.explain import prompts
from edge_monitor.explain.captions import redact
from edge_monitor.explain.difference import REFERENCE_TEXTS
from edge_monitor.explain.jobs import MEASURED
from edge_monitor.explain.llm import LlmClient
from edge_monitor.explain.wording import word

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_monitor.config.settings import ExplainSettings, ModelSettings
    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.explain.difference import Difference
    from edge_monitor.records import Embedding

WORDED = ("text-decoder", "zero-shot", "combination", "measured-worded")
METHODS = (MEASURED, *WORDED)
_GIVE_UP = 3  # sounds in a row that the LLM did not answer: a server that is down is not asked hundreds of times


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A sound to explain and the normals nearest to it."""

    machine: str  # as the prompts name it
    difference: Difference | None  # as measured; None: it could not be
    anomaly: Embedding
    neighbours: tuple[Embedding, ...]  # nearest first


class Captions:
    """The methods that the bundle and the settings allow. `missing` says why each other one is not there.

    At most `[explain] requests_per_day` requests are made, in all; nothing but captions, figures and the machine's name
    leaves this computer. Raises BundleError when the bundle's models cannot be used.
    """

    def __init__(
        self, bundle: Bundle, model: ModelSettings, explain: ExplainSettings, state_dir: Path | None = None
    ) -> None:
        self._explain = explain
        self._client = LlmClient(explain)
        self._requests = 0
        self._failed = 0  # in a row
        self._known: dict[bytes, str] = {}  # vector -> caption; neighbours come again
        self.missing: dict[str, str] = {}
        abilities = bundle.manifest.abilities
        for method in WORDED:
            lacking = [ability for ability in prompts.NEEDS[method] if ability not in abilities]
            if lacking:
                self.missing[method] = f"the bundle {bundle.name} has no {' and '.join(lacking)}"
            elif explain.llm == "off":
                self.missing[method] = "no LLM is configured ([explain] llm)"
        able = {ability for method in self.methods for ability in prompts.NEEDS.get(method, ())}
        self._captioner = self._similarity = None
        if "captions" in able:
            self._captioner = Captioner(bundle, threads=model.threads, idle_s=model.caption_idle_s, state_dir=state_dir)
        if "text-similarity" in able:
            self._similarity = TextSimilarity(bundle, REFERENCE_TEXTS, threads=model.threads, state_dir=state_dir)

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that can be tried."""
        return tuple(method for method in METHODS if method not in self.missing)

    def of(self, question: Question) -> tuple[dict[str, str], dict[str, str]]:
        """Return what each method says, and why each of the others says nothing."""
        said: dict[str, str] = {}
        failed: dict[str, str] = {}
        for method in self.methods:
            if "measured" in method and question.difference is None:
                failed[method] = "the sound could not be measured"
                continue
            if method == MEASURED and question.difference:
                said[method] = question.difference.sentence
                continue
            try:
                said[method] = self._worded(self._prompt(method, question))
            except (LlmError, BudgetSpentError) as error:
                failed[method] = str(error)
        return said, failed

    def _prompt(self, method: str, question: Question) -> str:
        machine = question.machine
        if method == "measured-worded" and question.difference:
            return prompts.measured_worded(machine, question.difference.sentence, question.difference.findings)
        texts, sounds = REFERENCE_TEXTS, (question.anomaly, *question.neighbours)
        if method == "zero-shot":
            own, *others = self._similarities(sounds)
            return prompts.zero_shot(machine, texts, own, others)
        caption, *captions = self._captions(sounds)
        if method == "text-decoder":
            return prompts.text_decoder(machine, caption, captions)
        own, *others = self._similarities(sounds)
        return prompts.combination(
            machine, texts, caption=caption, similarities=own, normal_captions=captions, normal_similarities=others
        )

    def _captions(self, sounds: Sequence[Embedding]) -> list[str]:
        """Return each sound's caption; the ones not known yet are decoded together."""
        new = {each.vector.tobytes(): each for each in sounds if each.vector.tobytes() not in self._known}
        if new and self._captioner:
            decoded = self._captioner.captions(list(new.values()))
            self._known |= {vector: redact(caption.text) for vector, caption in zip(new, decoded, strict=True)}
        return [self._known[each.vector.tobytes()] for each in sounds]

    def _similarities(self, sounds: Sequence[Embedding]) -> list[tuple[float, ...]]:
        """Return each sound's cosines to the reference texts."""
        similarity = self._similarity
        return [similarity.similarities(each) for each in sounds] if similarity else []

    def _worded(self, prompt: str) -> str:
        if self._failed >= _GIVE_UP:
            raise LlmError(f"not asked: {_GIVE_UP} sounds in a row brought no answer", retryable=False, sent=False)
        try:
            answer = word(
                self._client.ask,
                prompt,
                debit=self._debit,
                deadline_s=self._explain.deadline_s,
                sleep=time.sleep,
                clock=time.monotonic,
            )
        except LlmError:
            self._failed += 1
            raise
        self._failed = 0
        return answer.text

    def _debit(self) -> None:
        if self._requests >= self._explain.requests_per_day:
            raise BudgetSpentError(
                f"not asked: {self._requests} requests are spent", hint="[explain] requests_per_day allows no more"
            )
        self._requests += 1
