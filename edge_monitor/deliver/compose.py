"""From records to payloads: pure functions, safe for any name, file name or level."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import edge_monitor
from edge_monitor.clock import rfc3339
from edge_monitor.deliver import payloads
from edge_monitor.deliver.trend_payload import TrendPayload
from edge_monitor.records import Condition, EventKind, MachineState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.config.settings import NodeSettings
    from edge_monitor.records import AlarmEvent, Explanation, MachineTrends, Score, Trend

_VALID_MS = 180_000  # three of the 60 s intervals at which states are re-published
# Of the nearest normals and the largest findings, what is said of each; and of how many.
_OF_NEIGHBOUR = {"normal_id": "id", "recording": "recording", "recording_start_s": "start_s", "distance": "distance"}
_OF_FINDING = {name: name for name in ("name", "text", "value", "normal", "unit", "deviation")}
_MAX_NEIGHBOURS = 4  # the paper's k
_MAX_FINDINGS = 3


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
) -> payloads.StatusPayload:
    """Say how the node is and what it has lost; times in milliseconds since 1970-01-01 UTC.

    `figures` are what the node counts and measures, by name: of STATUS_FIGURES each that is missing counts as 0. The
    Last Will (offline) carries none.
    """
    known: dict[str, float] = {}
    if state != "offline":
        known = {name: figures.get(name) or 0 for name in payloads.STATUS_FIGURES}
        known["storage_fault"] = bool(known["storage_fault"])
    return payloads.StatusPayload.model_validate(
        {
            **_common(node, at_ms, clock_synced),
            **known,
            "state": state,
            "online": state == "online",
            "reason": reason,
            "version": edge_monitor.__version__,
            "bundle": bundle,
            "started_ms": started_ms,
        }
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
    condition: Condition = Condition.USUAL,
    episode_id: str | None = None,
    score: Score | None = None,
    generation: int | None = None,
    detail: str = "",
) -> payloads.StatePayload:
    """Say how a machine is.

    `alarm_id` is the active alarm's, also when the state is no longer `alarm` (sound lost, inhibited); `episode_id`
    that of an episode that is no alarm. `score` is the last one, None when nothing is scored; `generation` is needed
    only then. `detail` is one line for the operator.
    """
    label = state.label
    if state is MachineState.ALARM and score is not None:
        label = f"alarm, {_ratio(score.value, score.threshold):.2f} x threshold"
    if alarm_id is not None and state is not MachineState.ALARM:
        label += ", alarm held"
    if condition in {Condition.CHANGED, Condition.GROWING}:
        label += f", {condition.label}"
    text = f"{label}: {detail}" if detail else label
    return payloads.StatePayload.model_validate(
        {
            **_machine(node, machine, at_ms, clock_synced),
            **({"generation": generation} if score is None else _scored(score)),
            "state": state.label,
            "state_code": int(state),
            "alarm": alarm_id is not None,
            "alarm_id": alarm_id,
            "condition": int(condition),
            "episode_id": episode_id,
            "priority": machine.alarm.priority,
            "since": rfc3339(since_ms),
            "since_ms": since_ms,
            "valid_until_ms": at_ms + _VALID_MS,
            "text": f"{machine.title}: {text}",
        }
    )


def score_payload(
    node: NodeSettings,
    machine: MachineSettings,
    score: Score,
    *,
    lag_s: float,
    at_ms: int,
    clock_synced: bool | None,
) -> payloads.ScorePayload:
    """Say one window's score; `lag_s` is the time since the end of its sound, seconds."""
    said = {"level_dbfs": score.level_dbfs, "lag_s": max(lag_s, 0.0)}
    return payloads.ScorePayload.model_validate(
        {**_machine(node, machine, at_ms, clock_synced), **_scored(score), **said}
    )


def trend_payload(
    node: NodeSettings,
    machine: MachineSettings,
    trends: MachineTrends,
    *,
    text: str,
    at_ms: int,
    clock_synced: bool | None,
) -> TrendPayload:
    """Say where a machine's scores go; `text` is the same in words."""
    return TrendPayload.model_validate(
        {
            **_machine(node, machine, at_ms, clock_synced),
            "generation": trends.generation,
            "rising": trends.rising,
            "text": f"{machine.title}: {text}",
            **_line("hours", trends.hours, "h", 3600.0),
            **_line("days", trends.days, "day", 86_400.0),
        }
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
    test: bool = False,
) -> payloads.AlertPayload:
    """Say a transition of an alarm; `persisted` is False only when the disk could not take it. `test`: it is none."""
    ratio, peak_ratio = _ratio(event.score, event.threshold), min(event.peak_ratio, payloads.MAX_RATIO)
    what = {
        EventKind.START: f"sounds anomalous, {ratio:.2f} x threshold",
        EventKind.UPDATE: f"still sounds anomalous, {ratio:.2f} x threshold",
        EventKind.END: f"alarm ended, peak {peak_ratio:.2f} x threshold",
    }[event.kind]
    if event.kind is EventKind.START and ratio <= 1.0:  # no window is loud, they last
        what = event.reason
    return payloads.AlertPayload.model_validate(
        {
            **_same(payloads.AlertPayload, event),
            **_machine(node, machine, event.at_ms, clock_synced),
            "event": event.kind.value,
            "alarm": event.kind is not EventKind.END,
            "priority": machine.alarm.priority,
            "since": rfc3339(event.since_ms),
            "ratio": ratio,
            "bundle": bundle,
            "text": f"{machine.title}: {'TEST, no alarm: ' if test else ''}{what}{'; ' * bool(event.hint)}{event.hint}",
            "evidence": evidence,
            "test": test or None,
            "persisted": persisted,
            **_numbered("neighbour", _OF_NEIGHBOUR, event.neighbours, _MAX_NEIGHBOURS),
        }
    )


def condition_payload(
    node: NodeSettings,
    machine: MachineSettings,
    event: AlarmEvent,
    *,
    clock_synced: bool | None,
    evidence: str | None = None,
    persisted: bool = True,
) -> payloads.ConditionPayload:
    """Say a transition of an episode; `event.episode` is not None."""
    assert event.episode is not None  # noqa: S101 - whoever calls has looked
    said = {EventKind.CHANGED: "start", EventKind.START: "start" if event.begins else "raised", EventKind.END: "end"}
    what = {EventKind.CHANGED: "has changed", EventKind.END: "as usual again"}.get(event.kind, "alarm")
    return payloads.ConditionPayload.model_validate(
        {
            **_same(payloads.ConditionPayload, event),
            **_same(payloads.ConditionPayload, event.episode),
            **_machine(node, machine, event.at_ms, clock_synced),
            "event": said[event.kind],
            "condition": int(event.condition),
            "episode_id": event.alarm_id,
            "since": rfc3339(event.episode.since_ms),
            "windows_of": event.episode.of,
            "ratio": _ratio(event.score, event.threshold),
            "text": f"{machine.title}: {what}: {event.reason}{'; ' * bool(event.hint)}{event.hint}",
            "evidence": evidence,
            "persisted": persisted,
        }
    )


def explanation_payload(
    node: NodeSettings,
    machine: MachineSettings,
    explanation: Explanation,
    *,
    at_ms: int,
    clock_synced: bool | None,
    evidence: str | None = None,
    test: bool = False,
) -> payloads.ExplanationPayload:
    """Say how the sound differs, or why that is not known; `evidence` is where the picture will lie."""
    return payloads.ExplanationPayload.model_validate(
        {
            **_same(payloads.ExplanationPayload, explanation),
            **_machine(node, machine, at_ms, clock_synced),
            "status": "unavailable" if explanation.text is None else "ok",
            "text": explanation.text or "",
            "evidence": evidence,
            "test": test or None,
            **_numbered("finding", _OF_FINDING, explanation.findings, _MAX_FINDINGS),
        }
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
) -> payloads.ReplyPayload:
    """Say what became of a command."""
    return payloads.ReplyPayload.model_validate(
        {
            **_common(node, at_ms, clock_synced),
            "command": command,
            "request_id": request_id,
            "ok": result in {"started", "done"},
            "result": result,
            "text": text,
        }
    )


def _common(node: NodeSettings, at_ms: int, clock_synced: bool | None) -> dict[str, Any]:
    at = rfc3339(at_ms)
    return {"site": node.site, "node": node.name, "at": at, "at_ms": at_ms, "clock_synced": bool(clock_synced)}


def _machine(node: NodeSettings, machine: MachineSettings, at_ms: int, clock_synced: bool | None) -> dict[str, Any]:
    names = {"machine": machine.name, "display_name": machine.title, "kind": machine.kind}
    return {**_common(node, at_ms, clock_synced), **names}


def _line(scale: str, trend: Trend | None, unit: str, per_s: float) -> dict[str, Any]:
    if trend is None:
        return {f"{scale}_direction": "unknown"}
    growth = trend.growth_percent(per_s)
    fields: dict[str, Any] = {
        "direction": trend.direction.value,
        "since": rfc3339(round(1000 * trend.since_s)),
        "since_ms": round(1000 * trend.since_s),
        "ratio": float(f"{trend.ratio:.3g}"),
    }
    for name, percent in zip(("slope", "slope_low", "slope_high"), growth, strict=True):
        fields[f"{name}_percent_per_{unit}"] = None if percent is None else float(f"{percent:.3g}")
    if trend.forecast is not None:
        for name in ("at", "earliest", "latest"):
            fields[f"threshold_{name}_ms"] = round(1000 * getattr(trend.forecast, f"{name}_s"))
    return {f"{scale}_{name}": value for name, value in fields.items()}


def _scored(score: Score) -> dict[str, Any]:
    ratio = _ratio(score.value, score.threshold)
    return {"score": score.value, "threshold": score.threshold, "ratio": ratio, "generation": score.generation}


def _same(model: type[BaseModel], record: object) -> dict[str, Any]:
    """Return what a record calls by the payload's own names."""
    return {name: getattr(record, name) for name in model.model_fields if hasattr(record, name)}


def _numbered(kind: str, names: Mapping[str, str], records: Sequence[object], most: int) -> dict[str, Any]:
    """Flatten the first records: common collectors drop or mangle arrays."""
    fields: dict[str, Any] = {f"{kind}s": min(len(records), most)}
    for place, record in enumerate(records[:most], start=1):
        fields |= {f"{kind}_{place}_{name}": getattr(record, field) for field, name in names.items()}
    return fields


def _ratio(score: float, threshold: float) -> float:
    return min(score / threshold, payloads.MAX_RATIO)
