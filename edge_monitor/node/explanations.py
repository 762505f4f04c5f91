"""Explanations: what is asked and told when a sound is explained by hand, and those an alarm has or waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edge_monitor import clock
from edge_monitor.explain import jobs
from edge_monitor.explain.acoustics import Acoustics
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.records import Finding, Neighbour

if TYPE_CHECKING:
    import sqlite3

Method = Literal["measured", "text-decoder", "zero-shot", "combination", "measured-worded", "auto"]


class ExplainAlarm(Message):
    """Another explanation of an alarm by `method`; without one, and no `dry_run`, those it has."""

    alarm_id: str  # or how it begins
    method: Method | None = None
    dry_run: bool = False  # the prompt is made, and nobody is asked


class ExplainSound(OfMachine):
    """How a window of sound differs; without `method` all that the bundle can say, worded if there is an LLM."""

    vector: str  # file id of a .npy: (1, dim) float32, raw
    acoustics: Acoustics | None  # of the same window; None: too short to be measured
    bundle_hash: str
    method: Method | None = None
    dry_run: bool = False  # as above


class ExplainProgress(Message):
    """What is being done, for a person."""

    text: str


class Captions(Message):
    """What the bundle's decoder says of a sound, and of its nearest normals."""

    anomaly: str
    normals: tuple[str, ...]  # nearest first


class Similarities(Message):
    """The cosine to one text, -1 to 1, of a sound and of its nearest normals."""

    anomaly: float
    normals: tuple[float, ...]  # nearest first


class Worded(Message):
    """What an LLM makes of it."""

    method: str
    model: str
    text: str
    format_ok: bool  # False: not in the form that it was asked for


class Explained(Message):
    """How a sound differs from its nearest normals."""

    text: str | None  # the measured difference; None: `reason` says why there is none
    reason: str | None
    findings: tuple[Finding, ...]  # largest first
    counterparts: dict[str, float | None]  # of each reference text: signed, 0 = as normal, 1 = just stands out
    captions: Captions | None = None  # None, as below: not wanted
    similarities: dict[str, Similarities] | None = None  # by reference text
    worded: Worded | None = None
    failure: str | None = None  # why it is not worded
    prompt: str | None = None  # that the LLM was asked, or would be
    prompt_version: str | None = None


class StoredExplanation(Message):
    """One explanation of an alarm, or that it is still to come."""

    alarm_id: str
    seq: int
    method: str
    status: Literal["ok", "unavailable", "waiting"]
    at: str | None = None  # RFC 3339; None: it waits
    at_ms: int | None = None
    machine: str | None = None
    generation: int | None = None
    text: str | None = None
    reason: str = ""  # why it is unavailable
    findings: tuple[Finding, ...] = ()
    caption: str | None = None
    model: str | None = None
    prompt_version: str | None = None
    format_ok: bool | None = None
    latency_s: float | None = None
    requests: int | None = None  # made so far for one that waits


class AlarmExplained(Explained):
    """An alarm's difference, and what was told of it before."""

    alarm_id: str
    machine: str
    generation: int
    explanations: tuple[StoredExplanation, ...]


class SoundExplained(Explained):
    """A window's score and difference."""

    machine: str
    generation: int
    score: float  # >= 0, higher = more anomalous
    threshold: float
    ratio: float
    neighbours: tuple[Neighbour, ...]  # nearest first


def stored_explanations(connection: sqlite3.Connection, alarm_id: str) -> tuple[StoredExplanation, ...]:
    """Return an alarm's explanations in the order of their `seq`."""
    finished_ms = dict(
        connection.execute(
            "SELECT method, finished_ms FROM explanations WHERE alarm_id = ? AND finished_ms IS NOT NULL", (alarm_id,)
        ).fetchall()
    )
    told = [
        StoredExplanation.like(
            each,
            status="unavailable" if each.text is None else "ok",
            at=clock.rfc3339(finished_ms[each.method]),
            at_ms=finished_ms[each.method],
        )
        for each in jobs.of_alarm(connection, alarm_id)
    ]
    waits = [
        StoredExplanation(alarm_id=alarm_id, seq=job.seq, method=job.method, status="waiting", requests=job.requests)
        for worded in (False, True)
        for job in jobs.waiting(connection, worded=worded)
        if job.alarm_id == alarm_id
    ]
    return tuple(sorted(told + waits, key=lambda each: each.seq))
