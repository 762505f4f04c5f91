"""What is said over MQTT, contract v1: one frozen model per payload, flat, finite, with units in the names.

Within v1 fields are added, never renamed, retyped or removed. A field that has no value is absent, never null.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

MAX_RATIO = 1e6  # beyond any meaning; keeps a quotient finite
_MIN_DBFS = -200.0  # digital silence has no level in dB; 24-bit audio ends near -146


def _on_one_line(most: int) -> BeforeValidator:
    """Make text one printable line of at most `most` characters: a file name may hold newlines or undecodable bytes."""

    def cleaned(text: object) -> object:
        if not isinstance(text, str):
            return text
        line = "".join(character if character.isprintable() else " " for character in text)
        return line if len(line) <= most else line[: most - 1] + "…"

    return BeforeValidator(cleaned)


def _number(flag: object) -> object:
    return int(flag) if isinstance(flag, bool) else flag


def _capped(ratio: object) -> object:
    return min(ratio, MAX_RATIO) if isinstance(ratio, float) else ratio


def _finite(dbfs: float) -> float:
    return dbfs if math.isfinite(dbfs) and dbfs > _MIN_DBFS else _MIN_DBFS


Flag = Annotated[Literal[0, 1], BeforeValidator(_number)]  # a bool becomes one
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Milliseconds = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Distance = Annotated[float, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0), BeforeValidator(_capped)]
Level = Annotated[float, BeforeValidator(_finite)]
Positive = Annotated[float, Field(gt=0)]
RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
AlarmId = Annotated[str, Field(min_length=1, max_length=64)]
ShortText = Annotated[str, Field(max_length=80), _on_one_line(80)]
Line = Annotated[str, Field(max_length=200), _on_one_line(200)]
LongText = Annotated[str, Field(max_length=1000), _on_one_line(1000)]
OperatorLine = Annotated[str, Field(max_length=120, description="one line for an operator"), _on_one_line(120)]
Priority = Annotated[int, Field(ge=1, le=4)]
Absent = SkipJsonSchema[None]  # None here, no field in the JSON

StateLabel = Literal[
    "starting",
    "not-enrolled",
    "learning",
    "normal",
    "alarm",
    "not-running",
    "no-audio",
    "signal-fault",
    "sensor-changed",
    "inhibited",
    "storage-fault",
]


class Payload(BaseModel):
    """What every payload says: who speaks, when, and how to read it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    schema_version: Literal[1] = Field(
        default=1, description="contract version; consumers ignore fields they do not know"
    )
    site: Name = Field(description="plant or site")
    node: Name = Field(description="the box that listens")
    at: Moment = Field(description="when this was written, RFC 3339 UTC; in a Last Will: when the connection was begun")
    at_ms: Milliseconds = Field(description="the same in milliseconds since 1970-01-01 UTC")
    clock_synced: Flag = Field(
        description="1: the kernel says the wall clock is synchronized; 0: it is not, or unknown"
    )

    def encode(self) -> bytes:
        """Return compact UTF-8 JSON; the same payload always gives the same bytes."""
        return self.model_dump_json(exclude_none=True).encode()


class StatusPayload(Payload):
    """The node's life sign: retained, and its Last Will, which has none of the optional fields."""

    state: Literal["online", "stopped", "offline"] = Field(
        description="online; stopped: ended in order; offline: the connection was lost (Last Will)"
    )
    online: Flag = Field(description="1 exactly when state is online")
    reason: Line = Field(description="one line")
    version: ShortText = Field(description="edge-monitor's version")
    bundle: Line = Field(description="the model bundle's name")
    started_ms: Milliseconds = Field(description="when the daemon started, milliseconds since 1970-01-01 UTC")
    # A Last Will is written when the connection is begun: what was counted until then would be old news.
    alerts_queued: Count | Absent = Field(default=None, description="alerts that wait for the broker")
    alerts_oldest_s: Distance | Absent = Field(
        default=None,
        description="how long the oldest alert or explanation has waited for the broker, seconds; 0: none does",
    )
    alerts_parked: Count | Absent = Field(default=None, description="alerts the broker refused, ever")
    alerts_dropped: Count | Absent = Field(
        default=None, description="alerts lost at the outbox's cap or from memory, ever"
    )
    alarms_not_stored: Count | Absent = Field(
        default=None,
        description="records of alarms (a start, update, end or further window) that the disk never took, since the"
        " daemon started; their alerts were sent from memory",
    )
    score_minutes_lost: Count | Absent = Field(
        default=None,
        description="minutes of scores, of one machine each, that the disk never took, since the daemon started",
    )
    evidence_lost: Count | Absent = Field(
        default=None, description="alarms whose picture or sound could not be kept, since the daemon started"
    )
    frames_dropped: Count | Absent = Field(default=None, description="audio frames lost, since the daemon started")
    windows_dropped: Count | Absent = Field(
        default=None, description="windows not scored because scoring was too slow, since the daemon started"
    )
    publish_errors: Count | Absent = Field(
        default=None, description="connections lost or not made, and messages refused, since the daemon started"
    )
    explanations_queued: Count | Absent = Field(default=None, description="explanations that wait for the broker")
    explanations_parked: Count | Absent = Field(default=None, description="explanations the broker refused, ever")
    explanations_dropped: Count | Absent = Field(
        default=None, description="explanations lost at the outbox's cap, ever"
    )
    explanations_waiting: Count | Absent = Field(default=None, description="explanations that are still to be given")
    explanations_unavailable: Count | Absent = Field(
        default=None, description="explanations that could not be given, since the daemon started"
    )
    thread_restarts: Count | Absent = Field(
        default=None, description="threads that died and were begun anew, since the daemon started"
    )
    storage_fault: Flag | Absent = Field(default=None, description="1 while the disk fails")
    clock_steps: Count | Absent = Field(default=None, description="steps of the wall clock, since the daemon started")
    uptime_s: Distance | Absent = Field(
        default=None, description="since the daemon started, by a clock that does not step, seconds"
    )


# What the node counts and measures of itself; the other fields say who and how it is.
STATUS_FIGURES = tuple(
    name
    for name in StatusPayload.model_fields
    if name not in {*Payload.model_fields, "state", "online", "reason", "version", "bundle", "started_ms"}
)


class MachinePayload(Payload):
    """What every payload about one machine says as well."""

    machine: Name = Field(description="the machine's topic segment")
    display_name: ShortText = Field(description="the machine's name for people")
    kind: ShortText = Field(description="pump, fan, gearbox, …")


class StatePayload(MachinePayload):
    """A machine's last state: retained, re-published every 60 s. Believe it only while status says online."""

    state: StateLabel = Field(description="the state in words")
    state_code: Annotated[int, Field(ge=0, le=10)] = Field(description="the state as a number that is never renumbered")
    alarm: Flag = Field(description="1 while an alarm is active, also when the sound is missing meanwhile")
    alarm_id: AlarmId | Absent = Field(default=None, description="the active alarm's UUID")
    priority: Priority = Field(description="of this machine's alarms: 1 critical … 4 low")
    since: Moment = Field(description="since when this state holds, RFC 3339 UTC")
    since_ms: Milliseconds = Field(description="the same in milliseconds since 1970-01-01 UTC")
    valid_until_ms: Milliseconds = Field(description="without a newer message by then, treat the state as unknown")
    score: Distance | Absent = Field(
        default=None,
        description="last anomaly score: a distance, higher = more anomalous; absent when nothing is scored",
    )
    threshold: Positive | Absent = Field(default=None, description="anomalous when score > threshold")
    ratio: Ratio | Absent = Field(default=None, description="score / threshold, at most 1e6; the one to plot")
    generation: Count | Absent = Field(default=None, description="which learnt state of the machine scores it")
    text: OperatorLine


class ScorePayload(MachinePayload):
    """One window's score: not retained, rate-limited, may be lost."""

    score: Distance = Field(description="anomaly score: a distance, higher = more anomalous")
    threshold: Positive = Field(description="anomalous when score > threshold")
    ratio: Ratio = Field(description="score / threshold, at most 1e6; the one to plot")
    level_dbfs: Level = Field(description="RMS level of the window, dB re full scale, at least -200")
    lag_s: Distance = Field(description="from the end of the window's sound to this message, seconds")
    generation: Count = Field(description="which learnt state of the machine scored it")


class AlertPayload(MachinePayload):
    """A transition of one alarm. `(alarm_id, seq)` is unique for ever: a repeated pair is the same message again."""

    event: Literal["start", "update", "end"] = Field(description="what happened")
    alarm: Flag = Field(description="1 for start and update, 0 for end")
    alarm_id: AlarmId = Field(description="UUID of the alarm from start to end, also across restarts")
    seq: Count = Field(description="0 for the start, then counting up")
    priority: Priority = Field(description="1 critical … 4 low")
    since: Moment = Field(description="the alarm's start, RFC 3339 UTC")
    since_ms: Milliseconds = Field(description="the same in milliseconds since 1970-01-01 UTC")
    score: Distance = Field(
        description="of the confirming window (start), the highest since the last event (update, end)"
    )
    peak_score: Distance = Field(description="the highest since the alarm's start")
    threshold: Positive = Field(description="anomalous when score > threshold")
    ratio: Ratio = Field(description="score / threshold, at most 1e6")
    peak_ratio: Ratio = Field(
        description="the highest score / threshold since the start, each with the threshold of its moment; at most 1e6"
    )
    generation: Count = Field(description="which learnt state of the machine scored it")
    bundle: Line = Field(description="the model bundle's name")
    level_dbfs: Level = Field(description="RMS level of the window, dB re full scale, at least -200")
    window_start_s: float = Field(description="the window that confirmed the start, stream time, seconds")
    window_end_s: float = Field(description="the same: its end")
    reason: Line = Field(description="why it was raised, updated or ended")
    text: OperatorLine
    evidence: Line | Absent = Field(default=None, description="where the evidence lies on the node")
    persisted: Flag = Field(description="1: on the node's disk before this was sent; 0: its disk failed")
    test: Flag | Absent = Field(default=None, description="1: a test of the wiring, no alarm; absent otherwise")
    neighbours: Annotated[int, Field(ge=0, le=4)] = Field(
        description="how many normal sounds nearest to that window follow: neighbour_1_… to at most neighbour_4_…"
    )
    neighbour_1_id: Count | Absent = Field(default=None, description="the nearest normal's number")
    neighbour_1_recording: Line | Absent = Field(default=None, description="the recording it is from")
    neighbour_1_start_s: float | Absent = Field(default=None, description="its position there, seconds")
    neighbour_1_distance: Distance | Absent = Field(default=None, description="its distance")
    neighbour_2_id: Count | Absent = Field(default=None, description="the second nearest, as above")
    neighbour_2_recording: Line | Absent = None
    neighbour_2_start_s: float | Absent = None
    neighbour_2_distance: Distance | Absent = None
    neighbour_3_id: Count | Absent = Field(default=None, description="the third nearest, as above")
    neighbour_3_recording: Line | Absent = None
    neighbour_3_start_s: float | Absent = None
    neighbour_3_distance: Distance | Absent = None
    neighbour_4_id: Count | Absent = Field(default=None, description="the fourth nearest, as above")
    neighbour_4_recording: Line | Absent = None
    neighbour_4_start_s: float | Absent = None
    neighbour_4_distance: Distance | Absent = None


class ExplanationPayload(MachinePayload):
    """How an alarm's sound differs from its nearest normals, or why that cannot be said.

    `(alarm_id, seq)` is unique for ever: a repeated pair is the same message again. What is measured comes at once,
    what an LLM words comes when it comes.
    """

    alarm_id: AlarmId = Field(description="the alarm it belongs to")
    seq: Count = Field(description="0 for the alarm's first explanation, then counting up")
    status: Literal["ok", "unavailable"] = Field(description="whether there is an explanation")
    method: ShortText = Field(
        description="measured; or worded by an LLM: text-decoder, zero-shot, combination, measured-worded"
    )
    text: LongText = Field(description="the difference in words; empty when unavailable")
    reason: Line = Field(description="why it is unavailable; empty when ok")
    generation: Count = Field(description="which learnt state of the machine it compares with")
    latency_s: Distance | Absent = Field(default=None, description="from the alarm's start to this, seconds")
    model: ShortText | Absent = Field(default=None, description="the LLM that worded it")
    prompt_version: ShortText | Absent = Field(default=None, description="version of what it was asked")
    format_ok: Flag | Absent = Field(default=None, description="0: the LLM did not keep to the form it was asked for")
    caption: Line | Absent = Field(default=None, description="the anomalous sound as the bundle's decoder words it")
    evidence: Line | Absent = Field(default=None, description="where the picture lies on the node")
    test: Flag | Absent = Field(default=None, description="1: of a test of the wiring; absent otherwise")
    findings: Annotated[int, Field(ge=0, le=3)] = Field(
        default=0, description="how many measured differences follow, largest first: finding_1_… to at most finding_3_…"
    )
    finding_1_name: ShortText | Absent = Field(default=None, description="what differs, e.g. tone, impulses")
    finding_1_text: Line | Absent = Field(default=None, description="the same in words with figures")
    finding_1_value: float | Absent = Field(default=None, description="of the anomalous sound; absent: it has none")
    finding_1_normal: float | Absent = Field(default=None, description="median of the nearest normals; absent: none")
    finding_1_unit: ShortText | Absent = Field(default=None, description="unit of both: dB, Hz, 1/s; 1 for ratios")
    finding_1_deviation: Ratio | Absent = Field(
        default=None, description="over the spread of all normals; 1: just stands out"
    )
    finding_2_name: ShortText | Absent = Field(default=None, description="the second largest, as above")
    finding_2_text: Line | Absent = None
    finding_2_value: float | Absent = None
    finding_2_normal: float | Absent = None
    finding_2_unit: ShortText | Absent = None
    finding_2_deviation: Ratio | Absent = None
    finding_3_name: ShortText | Absent = Field(default=None, description="the third largest, as above")
    finding_3_text: Line | Absent = None
    finding_3_value: float | Absent = None
    finding_3_normal: float | Absent = None
    finding_3_unit: ShortText | Absent = None
    finding_3_deviation: Ratio | Absent = None


class ReplyPayload(Payload):
    """What became of a command. `learn` is answered twice: when it begins and when it is done."""

    command: Literal["inhibit", "resume", "learn"] = Field(description="what was asked for")
    request_id: RequestId | Absent = Field(default=None, description="the request's; absent when it had none of use")
    ok: Flag = Field(description="1: obeyed; 0: refused or failed")
    result: Literal["started", "done", "refused", "failed"] = Field(description="what became of it")
    text: Line = Field(description="one line: what was done, or why not")
