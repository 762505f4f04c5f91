"""From records to payloads: pure functions, safe for any name, file name or level."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import edge_monitor
from edge_monitor.clock import rfc3339
from edge_monitor.deliver.payloads import (
    STATUS_FIGURES,
    AlertPayload,
    ExplanationPayload,
    Flag,
    ReplyPayload,
    ScorePayload,
    StatePayload,
    StatusPayload,
)
from edge_monitor.records import EventKind, MachineState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import NodeSettings
    from edge_monitor.records import AlarmEvent, Explanation, Finding, Neighbour, Score

_MAX_RATIO = 1e6  # beyond any meaning; keeps a quotient finite
_MIN_DBFS = -200.0  # digital silence has no level in dB; 24-bit audio ends near -146
_MAX_NEIGHBOURS = 4  # the paper's k
_MAX_FINDINGS = 3
_VALID_S = 180.0  # three of the 60 s intervals at which states are re-published


class _Common(TypedDict):
    site: str
    node: str
    at: str
    at_ms: int
    clock_synced: Flag


class _Machine(_Common):
    machine: str
    display_name: str
    kind: str


def status_payload(
    node: NodeSettings,
    *,
    state: Literal["online", "stopped", "offline"],
    reason: str,
    bundle: str,
    started_ms: int,
    at_ms: int,
    clock_synced: bool | None,
    figures: Mapping[str, float | None] = MappingProxyType({}),
) -> StatusPayload:
    """Say how the node is and what it has lost; times in milliseconds since 1970-01-01 UTC.

    `figures` are what the node counts and measures, by name: of STATUS_FIGURES each that is missing counts as 0.
    """
    known: dict[str, Any] = {name: figures.get(name) or 0 for name in STATUS_FIGURES}
    known["storage_fault"] = _flag(known["storage_fault"])
    return StatusPayload(
        **_common(node, at_ms, clock_synced),
        state=state,
        online=_flag(state == "online"),
        reason=_clean(reason, 200),
        version=edge_monitor.__version__,
        bundle=_clean(bundle, 200),
        started_ms=started_ms,
        **known,
    )


def state_payload(
    node: NodeSettings,
    machine: MachineSettings,
    *,
    state: MachineState,
    since_ms: int,
    at_ms: int,
    clock_synced: bool | None,
    alarm_id: str | None = None,
    score: Score | None = None,
    generation: int | None = None,
    detail: str = "",
    valid_s: float = _VALID_S,
) -> StatePayload:
    """Say how a machine is.

    `alarm_id` is the active alarm's, also when the state is no longer `alarm` (sound lost, inhibited). `score` is the
    last one, None when nothing is scored; `generation` is needed only then. `detail` is one line for the operator.
    """
    label = state.label
    if state is MachineState.ALARM and score is not None:
        label = f"alarm, {_ratio(score.value, score.threshold):.2f} x threshold"
    if alarm_id is not None and state is not MachineState.ALARM:
        label += ", alarm held"
    return StatePayload(
        **_machine(node, machine, at_ms, clock_synced),
        state=state.label,  # type: ignore[arg-type]  # the labels are StateLabel's; a test compares them
        state_code=int(state),
        alarm=_flag(alarm_id is not None),
        alarm_id=alarm_id,
        priority=machine.alarm.priority,
        since=rfc3339(since_ms),
        since_ms=since_ms,
        valid_until_ms=at_ms + round(valid_s * 1000),
        score=None if score is None else score.value,
        threshold=None if score is None else score.threshold,
        ratio=None if score is None else _ratio(score.value, score.threshold),
        generation=generation if score is None else score.generation,
        text=_text(machine, f"{label}: {detail}" if detail else label),
    )


def score_payload(
    node: NodeSettings,
    machine: MachineSettings,
    score: Score,
    *,
    lag_s: float,
    at_ms: int,
    clock_synced: bool | None,
) -> ScorePayload:
    """Say one window's score; `lag_s` is the time since the end of its sound, seconds."""
    return ScorePayload(
        **_machine(node, machine, at_ms, clock_synced),
        score=score.value,
        threshold=score.threshold,
        ratio=_ratio(score.value, score.threshold),
        level_dbfs=_level(score.level_dbfs),
        lag_s=max(lag_s, 0.0),
        generation=score.generation,
    )


def alert_payload(
    node: NodeSettings,
    machine: MachineSettings,
    event: AlarmEvent,
    *,
    bundle: str,
    clock_synced: bool | None,
    evidence: str | None = None,
    persisted: bool = True,
) -> AlertPayload:
    """Say a transition of an alarm; `persisted` is False only when the disk could not take it."""
    ratio, peak_ratio = _ratio(event.score, event.threshold), min(event.peak_ratio, _MAX_RATIO)
    what = {
        EventKind.START: f"sounds anomalous, {ratio:.2f} x threshold",
        EventKind.UPDATE: f"still sounds anomalous, {ratio:.2f} x threshold",
        EventKind.END: f"alarm ended, peak {peak_ratio:.2f} x threshold",
    }[event.kind]
    return AlertPayload(
        **_machine(node, machine, event.at_ms, clock_synced),
        event=event.kind.value,
        alarm=_flag(event.kind is not EventKind.END),
        alarm_id=event.alarm_id,
        seq=event.seq,
        priority=machine.alarm.priority,
        since=rfc3339(event.since_ms),
        since_ms=event.since_ms,
        score=event.score,
        peak_score=event.peak_score,
        threshold=event.threshold,
        ratio=ratio,
        peak_ratio=peak_ratio,
        generation=event.generation,
        bundle=_clean(bundle, 200),
        level_dbfs=_level(event.level_dbfs),
        window_start_s=event.window_start_s,
        window_end_s=event.window_end_s,
        reason=_clean(event.reason, 200),
        text=_text(machine, what),
        evidence=None if evidence is None else _clean(evidence, 200),
        persisted=_flag(persisted),
        **_neighbours(event.neighbours),
    )


def explanation_payload(
    node: NodeSettings,
    machine: MachineSettings,
    explanation: Explanation,
    *,
    at_ms: int,
    clock_synced: bool | None,
    evidence: str | None = None,
) -> ExplanationPayload:
    """Say how the sound differs, or why that is not known; `evidence` is where the picture will lie."""
    text, version, model = explanation.text, explanation.prompt_version, explanation.model
    return ExplanationPayload(
        **_machine(node, machine, at_ms, clock_synced),
        alarm_id=explanation.alarm_id,
        seq=explanation.seq,
        status="unavailable" if text is None else "ok",
        method=_clean(explanation.method, 80),
        text="" if text is None else _clean(text, 1000),
        reason=_clean(explanation.reason, 200),
        generation=explanation.generation,
        latency_s=explanation.latency_s,
        model=None if model is None else _clean(model, 80),
        prompt_version=None if version is None else _clean(version, 80),
        format_ok=None if explanation.format_ok is None else _flag(explanation.format_ok),
        caption=None if explanation.caption is None else _clean(explanation.caption, 200),
        evidence=None if evidence is None else _clean(evidence, 200),
        **_findings(explanation.findings),
    )


def reply_payload(
    node: NodeSettings,
    *,
    command: Literal["inhibit", "resume", "learn"],
    request_id: str | None,
    result: Literal["started", "done", "refused", "failed"],
    text: str,
    at_ms: int,
    clock_synced: bool | None,
) -> ReplyPayload:
    """Say what became of a command."""
    return ReplyPayload(
        **_common(node, at_ms, clock_synced),
        command=command,
        request_id=request_id,
        ok=_flag(result in {"started", "done"}),
        result=result,
        text=_clean(text, 200),
    )


def _common(node: NodeSettings, at_ms: int, clock_synced: bool | None) -> _Common:
    return {
        "site": node.site,
        "node": node.name,
        "at": rfc3339(at_ms),
        "at_ms": at_ms,
        "clock_synced": _flag(clock_synced),
    }


def _machine(node: NodeSettings, machine: MachineSettings, at_ms: int, clock_synced: bool | None) -> _Machine:
    return {
        **_common(node, at_ms, clock_synced),
        "machine": machine.name,
        "display_name": _clean(machine.title, 80),
        "kind": _clean(machine.kind, 80),
    }


def _neighbours(neighbours: tuple[Neighbour, ...]) -> dict[str, Any]:
    """Flatten the nearest ones: common collectors drop or mangle arrays."""
    fields: dict[str, Any] = {"neighbours": min(len(neighbours), _MAX_NEIGHBOURS)}
    for place, neighbour in enumerate(neighbours[:_MAX_NEIGHBOURS], start=1):
        fields[f"neighbour_{place}_id"] = neighbour.normal_id
        fields[f"neighbour_{place}_recording"] = _clean(neighbour.recording, 200)
        fields[f"neighbour_{place}_start_s"] = neighbour.recording_start_s
        fields[f"neighbour_{place}_distance"] = neighbour.distance
    return fields


def _findings(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Flatten the largest ones, as neighbours."""
    fields: dict[str, Any] = {"findings": min(len(findings), _MAX_FINDINGS)}
    for place, finding in enumerate(findings[:_MAX_FINDINGS], start=1):
        fields[f"finding_{place}_name"] = _clean(finding.name, 80)
        fields[f"finding_{place}_text"] = _clean(finding.text, 200)
        fields[f"finding_{place}_value"] = finding.value
        fields[f"finding_{place}_normal"] = finding.normal
        fields[f"finding_{place}_unit"] = _clean(finding.unit, 80)
        fields[f"finding_{place}_deviation"] = min(finding.deviation, _MAX_RATIO)
    return fields


def _text(machine: MachineSettings, what: str) -> str:
    return _clean(f"{machine.title}: {what}", 120)


def _clean(text: str, limit: int) -> str:
    """Make one printable line of at most `limit` characters (a file name may hold newlines or undecodable bytes)."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _ratio(score: float, threshold: float) -> float:
    return min(score / threshold, _MAX_RATIO)


def _level(dbfs: float) -> float:
    return dbfs if math.isfinite(dbfs) and dbfs > _MIN_DBFS else _MIN_DBFS


def _flag(value: bool | None) -> Flag:
    return 1 if value else 0
