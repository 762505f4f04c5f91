"""Explanations by hand: of an alarm, or of a recording's window; told to whoever asks, published to nobody."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.errors import BudgetSpentError, EdgeMonitorError, ExplainError, LlmError, NormalsError
from edge_monitor.explain import jobs
from edge_monitor.explain.acoustics import Acoustics
from edge_monitor.explain.answer import one_line
from edge_monitor.explain.difference import compare
from edge_monitor.explain.llm import LlmClient
from edge_monitor.explain.prompts import NEEDS, PROMPT_VERSION
from edge_monitor.explain.wording import word
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.node.learning import require_bundle, require_same
from edge_monitor.node.normal_acoustics import load_normal_acoustics
from edge_monitor.node.stored_explanations import stored_explanations
from edge_monitor.node.wire import unpack_vector
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from edge_monitor.config.settings import ExplainSettings
    from edge_monitor.explain.answer import Answer as Worded
    from edge_monitor.explain.difference import Difference
    from edge_monitor.node.node import Node

    Answer = Iterator[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Sound:
    """What is to be explained, and what it is compared with."""

    machine: str
    generation: int
    nearest: tuple[int, ...]  # ids of the nearest normals, nearest first
    embedding: Embedding | None  # of the window that was scored; None: not kept
    acoustics: str | None  # of the same window, JSON; None: not measured
    alarm_id: str | None = None  # None: a recording's


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be told beside the measured difference."""

    worded: str | None = None  # by an LLM, by this method
    measured: bool = False  # nothing is of use without the measured difference
    captions: bool = False
    similarities: bool = False


def alarm(node: Node, *, alarm_id: str, method: str | None, dry_run: bool) -> Answer:
    """Yield what explains an alarm, and with `method` another explanation made now; before it, what is being done.

    No sound is needed: the vector that was scored and what was measured are kept with the alarm.
    """
    wanted = _Wanted() if method is None and not dry_run else _wanted(node, method or "auto", dry_run=dry_run)
    with node.reading() as connection:
        row = history.find(connection, alarm_id)
        node.machine(row.machine)
        sound = _Sound(
            machine=row.machine,
            generation=row.generation,
            nearest=tuple(neighbour.normal_id for neighbour in row.neighbours),
            embedding=history.raising_window(connection, row.alarm_id),
            acoustics=jobs.acoustics_of(connection, row.alarm_id),
            alarm_id=row.alarm_id,
        )
        told = {
            "alarm_id": row.alarm_id,
            "machine": row.machine,
            "generation": row.generation,
            "explanations": stored_explanations(connection, row.alarm_id),
        }
    yield from _explain(node, sound, told, wanted, dry_run=dry_run)


def sound(
    node: Node, *, machine: str, vector: str, acoustics: str | None, bundle_hash: str, method: str | None, dry_run: bool
) -> Answer:
    """Yield how a window of sound differs from its nearest normals: its raw vector, and its acoustics as JSON.

    Without `method` all that the bundle can say is told, and what the LLM makes of it if there is one.
    Raises NormalsError when the machine is not enrolled, BundleMismatchError when the asker has another bundle.
    """
    node.machine(machine)
    require_same(node, bundle_hash)
    wanted = _wanted(node, method, dry_run=dry_run)
    with node.reading() as connection:
        scorer = load_scorer(connection, machine, node.state_dir.path)
    if scorer is None:
        raise NormalsError("not enrolled: no normal sound is known", where=machine, hint="`edge-monitor enroll` first")
    generation = scorer.generation
    require_bundle(node, machine, generation.bundle_hash)
    embedding = Embedding(unpack_vector(vector), bundle_hash)
    scored = scorer.score(embedding)
    threshold = threshold_of(node.machine(machine).alarm, generation)
    told = {
        "machine": machine,
        "generation": generation.number,
        "score": scored.value,
        "threshold": threshold,
        "ratio": scored.value / threshold,
        "neighbours": [asdict(neighbour) for neighbour in scored.neighbours],
    }
    nearest = tuple(neighbour.normal_id for neighbour in scored.neighbours)
    heard = _Sound(machine, generation.number, nearest, embedding, acoustics)
    yield from _explain(node, heard, told, wanted, dry_run=dry_run)


def _wanted(node: Node, method: str | None, *, dry_run: bool) -> _Wanted:
    """Return what is wanted of a sound; without `method` all that is possible.

    Raises BundleError for a method that the bundle cannot do, ExplainError when an LLM is wanted and there is none.
    """
    if method == jobs.MEASURED:
        return _Wanted(measured=True)
    configured = node.settings.explain.llm != "off"
    if method is None and not configured and not dry_run:
        return _Wanted(None, **_abilities(node.bundle.manifest.abilities))
    worded = node.prompts.method if method in {None, "auto"} else str(method)
    node.prompts.require(worded)
    if not configured and not dry_run:
        raise ExplainError(
            "no LLM is configured",
            where="explain.llm",
            hint="docs/explanations.md says how; --dry-run prints the prompt",
        )
    if method is None and not dry_run:
        return _Wanted(worded, **_abilities(node.bundle.manifest.abilities))
    return _Wanted(worded, measured=worded == "measured-worded", **_abilities(NEEDS[worded]))


def _abilities(needed: Sequence[str]) -> dict[str, bool]:
    return {"captions": "captions" in needed, "similarities": "text-similarity" in needed}


def _explain(node: Node, sound: _Sound, told: dict[str, Any], wanted: _Wanted, *, dry_run: bool) -> Answer:
    difference, failure = _measured(node, sound)
    if difference is None and wanted.measured:
        raise failure
    result = {
        **told,
        "text": difference.sentence if difference else None,
        "reason": None if difference else str(failure),
        "findings": [asdict(finding) for finding in difference.findings] if difference else [],
        "counterparts": difference.counterparts if difference else {},
        "captions": None,
        "similarities": None,
        "worded": None,
        "failure": None,
    }
    if not (wanted.worded or wanted.captions or wanted.similarities):
        yield result
        return
    anomaly, normals = _embeddings(node, sound)
    prompts = node.prompts
    if wanted.captions:
        yield {"progress": f"decoding the captions of {len(normals) + 1} sounds"}
        captions = [one_line(caption) for caption in prompts.captions([anomaly, *normals])]
        result["captions"] = {"anomaly": captions[0], "normals": captions[1:]}
    if wanted.similarities:
        own, *others = (prompts.similarities(embedding) for embedding in (anomaly, *normals))
        result["similarities"] = {
            text: {"anomaly": own[place], "normals": [each[place] for each in others]}
            for place, text in enumerate(prompts.texts)
        }
    if wanted.worded:
        measured = (difference.sentence, difference.findings) if difference else None
        prompt = prompts.prompt(wanted.worded, node.machine(sound.machine), anomaly, normals, measured).text
        result["prompt"], result["prompt_version"] = prompt, PROMPT_VERSION
        if not dry_run:
            yield {"progress": f"asking {node.settings.explain.model}"}
            try:
                result["worded"] = {
                    "method": wanted.worded,
                    "model": node.settings.explain.model,
                    **asdict(_ask(node, prompt, sound.alarm_id)),
                }
            except (LlmError, BudgetSpentError) as error:
                result["failure"] = str(error)
    yield result


def _measured(node: Node, sound: _Sound) -> tuple[Difference | None, EdgeMonitorError]:
    """Return the measured difference, or None and why there is none."""
    failure: EdgeMonitorError = ExplainError("the sound was not measured", where=sound.machine)
    if sound.acoustics is not None:
        try:
            with node.reading() as connection:
                healthy = load_normal_acoustics(connection, sound.machine, sound.generation, sound.nearest)
            return compare(Acoustics.from_json(sound.acoustics), *healthy.compared_with(sound.nearest)), failure
        except EdgeMonitorError as error:
            failure = error
    return None, failure


def _embeddings(node: Node, sound: _Sound) -> tuple[Embedding, list[Embedding]]:
    """Return the raw embeddings of the sound and of its nearest normals. Raises ExplainError when they are not kept."""
    if sound.embedding is None:
        raise ExplainError("no vector was kept with this alarm", where=sound.machine)
    with node.reading() as connection:
        vectors = Normals(connection, sound.machine).vectors(sound.nearest)
    return sound.embedding, [Embedding(vector, sound.embedding.bundle_hash) for vector in vectors]


def _ask(node: Node, prompt: str, alarm_id: str | None) -> Worded:
    """Return the LLM's answer. Raises LlmError, and BudgetSpentError when the day or the alarm has no more requests."""
    settings = node.settings.explain
    day = clock.rfc3339(clock.now().wall_ms)[:10]
    return word(
        LlmClient(settings).ask,
        prompt,
        debit=lambda: node.commit(lambda connection: _debit(connection, settings, alarm_id, day)),
        deadline_s=settings.deadline_s,
        sleep=time.sleep,
        clock=time.monotonic,
        give_back=lambda: node.commit(lambda connection: jobs.give_back_by_hand(connection, alarm_id, day)),
    )


def _debit(connection: sqlite3.Connection, limits: ExplainSettings, alarm_id: str | None, day: str) -> None:
    if alarm_id is not None and jobs.requests_for(connection, alarm_id) >= limits.requests_per_alarm:
        raise BudgetSpentError(
            f"the alarm's {limits.requests_per_alarm} requests to the LLM are spent",
            hint="explain.requests_per_alarm sets how many there are",
        )
    if jobs.requests_on(connection, day) >= limits.requests_per_day:
        raise BudgetSpentError(
            f"the day's {limits.requests_per_day} requests to the LLM are spent",
            hint="explain.requests_per_day sets how many there are",
        )
    jobs.debit_by_hand(connection, alarm_id, day)
