"""Explanations by hand: of an alarm, or of a recording's window; told to whoever asks, published to nobody."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.errors import (
    BudgetSpentError,
    ControlError,
    EdgeMonitorError,
    ExplainError,
    LlmError,
)
from edge_monitor.explain import jobs
from edge_monitor.explain.acoustics import Acoustics
from edge_monitor.explain.answer import one_line
from edge_monitor.explain.difference import compare
from edge_monitor.explain.llm import LlmClient
from edge_monitor.explain.prompts import NEEDS, PROMPT_VERSION
from edge_monitor.explain.wording import word
from edge_monitor.memory.normals import Normals
from edge_monitor.node.explanations import (
    AlarmExplained,
    Captions,
    Explained,
    ExplainProgress,
    Similarities,
    SoundExplained,
    Worded,
    stored_explanations,
)
from edge_monitor.node.learnt import require_same, require_scorer
from edge_monitor.node.vectors import read_vectors
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.pipeline.normal_acoustics import load_normal_acoustics
from edge_monitor.pipeline.repetition import load_repetition
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Sequence

    from edge_monitor.alarm.history import AlarmRow
    from edge_monitor.config.settings import ExplainSettings
    from edge_monitor.explain.answer import Answer
    from edge_monitor.explain.difference import Difference
    from edge_monitor.node.explanations import ExplainAlarm, ExplainSound
    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import Cancelled

_PATIENCE_S = 0.5  # an asker that has gone is noticed so soon between two requests to the LLM


@dataclass(frozen=True, slots=True)
class _Sound:
    """What is to be explained, and what it is compared with."""

    machine: str
    generation: int
    nearest: tuple[int, ...]  # ids of the nearest normals, nearest first
    embedding: Embedding | None  # of the window that was scored; None: not kept
    acoustics: Acoustics | EdgeMonitorError  # of the same window, or why there are none
    alarm_id: str | None = None  # None: a recording's


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be told beside the measured difference."""

    worded: str | None = None  # by an LLM, by this method
    measured: bool = False  # nothing is of use without the measured difference
    captions: bool = False
    similarities: bool = False
    dry_run: bool = False  # the LLM is not asked


def explain_alarm(
    node: Node, request: ExplainAlarm, cancelled: Cancelled
) -> Generator[ExplainProgress, None, AlarmExplained]:
    """Explain an alarm by its vector and its figures, which are kept with it: no sound is needed."""
    if request.method is None and not request.dry_run:
        wanted = _Wanted()
    else:
        wanted = _wanted(node, request.method or "auto", dry_run=request.dry_run)
    with node.reading() as connection:
        row = history.find(connection, request.alarm_id)
        node.machine(row.machine)
        sound = _Sound(
            machine=row.machine,
            generation=row.generation,
            nearest=tuple(neighbour.normal_id for neighbour in row.neighbours),
            embedding=history.raising_window(connection, row.alarm_id),
            acoustics=_stored_acoustics(connection, row),
            alarm_id=row.alarm_id,
        )
        stored = stored_explanations(connection, row.alarm_id)
    explained = yield from _explain(node, sound, wanted, cancelled)
    return AlarmExplained(
        alarm_id=row.alarm_id,
        machine=row.machine,
        generation=row.generation,
        explanations=stored,
        **explained.model_dump(exclude_unset=True),
    )


def explain_sound(
    node: Node, request: ExplainSound, cancelled: Cancelled
) -> Generator[ExplainProgress, None, SoundExplained]:
    """Explain how a window of sound differs from its nearest normals.

    Raises NormalsError when the machine is not enrolled, BundleMismatchError when the asker has another bundle.
    """
    machine = request.machine
    alarm = node.machine(machine).alarm
    require_same(node, request.bundle_hash)
    wanted = _wanted(node, request.method, dry_run=request.dry_run)
    scorer = require_scorer(node, machine)
    generation = scorer.generation
    with node.files.using(request.vector) as file:
        [vector] = read_vectors(file, node.bundle.manifest.audio.dim, most=1)
    embedding = Embedding(vector, request.bundle_hash)
    scored = scorer.score(embedding)
    threshold = threshold_of(alarm, generation)
    nearest = tuple(neighbour.normal_id for neighbour in scored.neighbours)
    acoustics = request.acoustics or _not_measured(machine)
    heard = _Sound(machine, generation.number, nearest, embedding, acoustics)
    explained = yield from _explain(node, heard, wanted, cancelled)
    return SoundExplained(
        machine=machine,
        generation=generation.number,
        score=scored.value,
        threshold=threshold,
        ratio=scored.value / threshold,
        neighbours=scored.neighbours,
        **explained.model_dump(exclude_unset=True),
    )


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
    measured = worded == "measured-worded"
    return _Wanted(worded, measured=measured, dry_run=dry_run, **_abilities(NEEDS[worded]))


def _abilities(needed: Sequence[str]) -> dict[str, bool]:
    return {"captions": "captions" in needed, "similarities": "text-similarity" in needed}


def _explain(
    node: Node, sound: _Sound, wanted: _Wanted, cancelled: Cancelled
) -> Generator[ExplainProgress, None, Explained]:
    difference = _measured(node, sound)
    later = dict.fromkeys(("captions", "similarities", "worded", "failure"))
    if not isinstance(difference, EdgeMonitorError):
        measured = (difference.sentence, difference.findings)
        explained = Explained.like(difference, text=difference.sentence, reason=None, **later)
    elif wanted.measured:
        raise difference
    else:
        measured = None
        explained = Explained(text=None, reason=str(difference), findings=(), counterparts={}, **later)
    if not (wanted.worded or wanted.captions or wanted.similarities):
        return explained
    anomaly, normals = _embeddings(node, sound)
    if wanted.captions:
        yield ExplainProgress(text=f"decoding the captions of {len(normals) + 1} sounds")
        own, *others = (one_line(caption) for caption in node.prompts.captions([anomaly, *normals]))
        captions = Captions(anomaly=own, normals=tuple(others))
        explained = explained.model_copy(update={"captions": captions})
    if wanted.similarities:
        similarities = _similarities(node, anomaly, normals)
        explained = explained.model_copy(update={"similarities": similarities})
    if wanted.worded is None:
        return explained
    prompt = node.prompts.prompt(wanted.worded, node.machine(sound.machine), anomaly, normals, measured).text
    explained = explained.model_copy(update={"prompt": prompt, "prompt_version": PROMPT_VERSION})
    if wanted.dry_run:
        return explained
    model = node.settings.explain.model
    yield ExplainProgress(text=f"asking {model}")
    try:
        answer = _ask(node, prompt, sound.alarm_id, cancelled)
    except (LlmError, BudgetSpentError) as error:
        return explained.model_copy(update={"failure": str(error)})
    return explained.model_copy(update={"worded": Worded(method=wanted.worded, model=model, **asdict(answer))})


def _similarities(node: Node, anomaly: Embedding, normals: Sequence[Embedding]) -> dict[str, Similarities]:
    """Return by text how similar a sound and its nearest normals are to it."""
    own, *others = (node.prompts.similarities(embedding) for embedding in (anomaly, *normals))
    return {
        text: Similarities(anomaly=own[place], normals=tuple(each[place] for each in others))
        for place, text in enumerate(node.prompts.texts)
    }


def _measured(node: Node, sound: _Sound) -> Difference | EdgeMonitorError:
    """Return the measured difference, or why there is none."""
    if isinstance(sound.acoustics, EdgeMonitorError):
        return sound.acoustics
    try:
        with node.reading() as connection:
            healthy = load_normal_acoustics(connection, sound.machine, sound.generation, sound.nearest)
            scored = (sound.machine, sound.generation, sound.nearest, sound.embedding)
            repetition = load_repetition(connection, *scored, bundle=node.bundle)
        return compare(sound.acoustics, *healthy.compared_with(sound.nearest), repetition)
    except EdgeMonitorError as error:
        return error


def _stored_acoustics(connection: sqlite3.Connection, row: AlarmRow) -> Acoustics | EdgeMonitorError:
    """Return what was measured of an alarm's window, or why there is nothing that can be compared."""
    stored = jobs.acoustics_of(connection, row.alarm_id)
    if stored is None:
        return _not_measured(row.machine)
    try:
        return Acoustics.from_json(stored)
    except ExplainError as error:
        return error


def _not_measured(machine: str) -> ExplainError:
    return ExplainError("the sound was not measured", where=machine)


def _embeddings(node: Node, sound: _Sound) -> tuple[Embedding, list[Embedding]]:
    """Return the raw embeddings of the sound and of its nearest normals. Raises ExplainError when they are not kept."""
    if sound.embedding is None:
        raise ExplainError("no vector was kept with this alarm", where=sound.machine)
    with node.reading() as connection:
        vectors = Normals(connection, sound.machine).vectors(sound.nearest)
    return sound.embedding, [Embedding(vector, sound.embedding.bundle_hash) for vector in vectors]


def _ask(node: Node, prompt: str, alarm_id: str | None, cancelled: Cancelled) -> Answer:
    """Return the LLM's answer. Raises LlmError, and BudgetSpentError when the day or the alarm has no more requests."""
    settings = node.settings.explain
    day = clock.rfc3339(clock.now().wall_ms)[:10]

    def pause(seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            if cancelled():
                raise ControlError("nobody waits for the explanation any more")
            time.sleep(min(left_s, _PATIENCE_S))

    return word(
        LlmClient(settings).ask,
        prompt,
        debit=lambda: node.commit(lambda connection: _debit(connection, settings, alarm_id, day)),
        deadline_s=settings.deadline_s,
        sleep=pause,
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
