"""Payloads: their exact bytes, their schemas, and names and figures nobody expected."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_monitor.deliver import compose, schemas
from edge_monitor.deliver.payloads import Payload, StateLabel
from edge_monitor.records import (
    AlarmEvent,
    Condition,
    Direction,
    Episode,
    EventKind,
    Explanation,
    Finding,
    Forecast,
    MachineState,
    MachineTrends,
    Neighbour,
    Score,
    Trend,
)
from tests.deliver.node import NODE, PUMP, status

DOCS = Path(__file__).parents[2] / "docs/mqtt"
AT_MS = 1_769_846_400_250  # 2026-01-31T08:00:00.250Z
ALARM_ID = "0b9d3c1e-6f0a-4a53-9c1b-2f6a3f0f7a11"

SCORE = Score("pump-3", 15.0, 10.0, 4, (), start_s=70.0, end_s=80.0, level_dbfs=-31.5)
EVENT = AlarmEvent(
    machine="pump-3",
    alarm_id=ALARM_ID,
    seq=0,
    kind=EventKind.START,
    at_s=80.0,
    at_ms=AT_MS,
    since_ms=AT_MS,
    score=15.0,
    peak_score=15.0,
    peak_ratio=1.5,
    threshold=10.0,
    generation=4,
    level_dbfs=-31.5,
    neighbours=(Neighbour(12, 14.5, "normal_01.flac", 20.0), Neighbour(7, 15.5, "normal_02.flac", 0.0)),
    window_start_s=70.0,
    window_end_s=80.0,
    reason="3 of the last 5 windows above the threshold",
)


def _checked(name: str, payload: Payload) -> dict[str, Any]:
    """Return the decoded bytes after checking them against the committed schema, flatness and finiteness."""
    decoded: dict[str, Any] = json.loads(payload.encode(), parse_constant=pytest.fail)
    schema = json.loads((DOCS / f"{name}.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(decoded)
    assert set(decoded) <= set(schema["properties"])
    assert all(type(value) in {str, int, float} for value in decoded.values())  # flat, no null, no boolean
    return decoded


def test_an_alert_is_exactly_these_bytes() -> None:
    """The contract by example: field order, units, flags and flattened neighbours."""
    payload = compose.alert_payload(NODE, PUMP, EVENT, bundle="spectral", clock_synced=True, evidence="evidence/x")
    _checked("alert", payload)
    assert payload.encode().decode() == (
        '{"schema_version":1,"site":"plant-7","node":"edge-01","at":"2026-01-31T08:00:00.250Z","at_ms":1769846400250,'
        '"clock_synced":1,"machine":"pump-3","display_name":"Cooling pump 3","kind":"pump","event":"start","alarm":1,'
        '"alarm_id":"0b9d3c1e-6f0a-4a53-9c1b-2f6a3f0f7a11","seq":0,"priority":3,"since":"2026-01-31T08:00:00.250Z",'
        '"since_ms":1769846400250,"score":15.0,"peak_score":15.0,"threshold":10.0,"ratio":1.5,"peak_ratio":1.5,'
        '"generation":4,"bundle":"spectral","level_dbfs":-31.5,"window_start_s":70.0,"window_end_s":80.0,'
        '"reason":"3 of the last 5 windows above the threshold",'
        '"text":"Cooling pump 3: sounds anomalous, 1.50 x threshold","evidence":"evidence/x","persisted":1,'
        '"neighbours":2,"neighbour_1_id":12,"neighbour_1_recording":"normal_01.flac","neighbour_1_start_s":20.0,'
        '"neighbour_1_distance":14.5,"neighbour_2_id":7,"neighbour_2_recording":"normal_02.flac",'
        '"neighbour_2_start_s":0.0,"neighbour_2_distance":15.5}'
    )


def test_the_end_of_an_alarm_clears_the_flag() -> None:
    """An end says alarm 0 and the peak; an unpersisted one says so."""
    event = dataclasses.replace(EVENT, kind=EventKind.END, seq=3, score=5.0, peak_score=25.0, peak_ratio=2.5)
    payload = compose.alert_payload(NODE, PUMP, event, bundle="spectral", clock_synced=None, persisted=False)
    decoded = _checked("alert", payload)
    assert (decoded["event"], decoded["alarm"], decoded["seq"]) == ("end", 0, 3)
    assert (decoded["ratio"], decoded["peak_ratio"], decoded["persisted"], decoded["clock_synced"]) == (0.5, 2.5, 0, 0)
    assert decoded["text"] == "Cooling pump 3: alarm ended, peak 2.50 x threshold"
    assert "evidence" not in decoded


def test_a_state_in_alarm_says_everything_a_display_needs() -> None:
    """State, code, flag, id, times, score and one line."""
    payload = compose.state_payload(
        NODE,
        PUMP,
        state=MachineState.ALARM,
        since_ms=AT_MS - 1000,
        at_ms=AT_MS,
        clock_synced=True,
        alarm_id=ALARM_ID,
        score=SCORE,
    )
    decoded = _checked("state", payload)
    assert (decoded["state"], decoded["state_code"], decoded["alarm"], decoded["alarm_id"]) == ("alarm", 4, 1, ALARM_ID)
    assert (decoded["since"], decoded["since_ms"]) == ("2026-01-31T07:59:59.250Z", 1_769_846_399_250)
    assert decoded["valid_until_ms"] == 1_769_846_580_250
    assert (decoded["score"], decoded["threshold"], decoded["ratio"], decoded["generation"]) == (15.0, 10.0, 1.5, 4)
    assert decoded["text"] == "Cooling pump 3: alarm, 1.50 x threshold"


def test_lost_sound_holds_the_alarm_and_has_no_score() -> None:
    """`no-audio` with an active alarm keeps alarm 1; fields without a value are absent, not null."""
    payload = compose.state_payload(
        NODE,
        PUMP,
        state=MachineState.NO_AUDIO,
        since_ms=AT_MS,
        at_ms=AT_MS,
        clock_synced=True,
        alarm_id=ALARM_ID,
        generation=4,
        detail="unplugged",
    )
    decoded = _checked("state", payload)
    assert (decoded["state"], decoded["state_code"], decoded["alarm"], decoded["generation"]) == ("no-audio", 6, 1, 4)
    assert not {"score", "threshold", "ratio"} & set(decoded)
    assert decoded["text"] == "Cooling pump 3: no-audio, alarm held: unplugged"


def test_an_episode_is_told_from_its_start_to_its_alarm_and_its_end() -> None:
    """Each event says the condition from then on, under one id, and how far the sound is above the line."""
    episode = Episode(0, AT_MS, windows=290, of=360, memory_s=3600.0, times_line=1.25)
    start = dataclasses.replace(
        EVENT, kind=EventKind.CHANGED, seq=-1, score=9.0, reason="290 of the last 360 windows (1 h)", episode=episode
    )
    raised = dataclasses.replace(start, kind=EventKind.START, seq=0, episode=dataclasses.replace(episode, seq=1))
    grown = dataclasses.replace(raised, kind=EventKind.UPDATE, seq=1, growing=True)
    end = dataclasses.replace(grown, kind=EventKind.END, seq=2, episode=dataclasses.replace(episode, seq=2))
    told = [
        _checked("condition", compose.condition_payload(NODE, PUMP, event, clock_synced=True))
        for event in (start, raised, end)
    ]
    assert [(each["event"], each["condition"], each["seq"]) for each in told] == [
        ("start", 2, 0),
        ("raised", 3, 1),
        ("end", 1, 2),
    ]
    assert {each["episode_id"] for each in told} == {ALARM_ID}
    assert (told[0]["windows"], told[0]["windows_of"], told[0]["memory_s"], told[0]["times_line"]) == (
        290,
        360,
        3600.0,
        1.25,
    )
    assert told[0]["text"] == "Cooling pump 3: has changed: 290 of the last 360 windows (1 h)"
    assert grown.condition is Condition.GROWING
    alert = _checked("alert", compose.alert_payload(NODE, PUMP, raised, bundle="spectral", clock_synced=True))
    assert (alert["event"], alert["seq"], alert["ratio"]) == ("start", 0, 0.9)
    assert alert["text"] == "Cooling pump 3: 290 of the last 360 windows (1 h)"


@pytest.mark.parametrize("condition", list(Condition))
def test_every_condition_can_be_published_and_is_no_alarm_by_itself(condition: Condition) -> None:
    """`alarm` keeps its meaning: it is 1 with an alarm's id alone."""
    payload = compose.state_payload(
        NODE,
        PUMP,
        state=MachineState.NORMAL,
        since_ms=0,
        at_ms=AT_MS,
        clock_synced=False,
        condition=condition,
        episode_id=ALARM_ID,
    )
    decoded = _checked("state", payload)
    assert (decoded["condition"], decoded["episode_id"], decoded["alarm"]) == (int(condition), ALARM_ID, 0)


@pytest.mark.parametrize("state", list(MachineState))
def test_every_state_can_be_published(state: MachineState) -> None:
    """Label and code of each state are in the schema."""
    payload = compose.state_payload(NODE, PUMP, state=state, since_ms=0, at_ms=AT_MS, clock_synced=False)
    decoded = _checked("state", payload)
    assert decoded["state_code"] == int(state)
    assert get_args(StateLabel)[decoded["state_code"]] == decoded["state"]


def test_score_status_and_explanation_fit_their_schemas() -> None:
    """The remaining payloads, each in both of its forms."""
    score = compose.score_payload(NODE, PUMP, SCORE, lag_s=0.25, at_ms=AT_MS, clock_synced=True)
    assert _checked("score", score)["ratio"] == 1.5
    schema = json.loads((DOCS / "status.schema.json").read_text(encoding="utf-8"))
    for state in ("online", "stopped", "offline"):
        jsonschema.validate(json.loads(status(state, "why")), schema)
    tone = Finding("tone", "a tone at 3000 Hz, 12 dB over its surroundings, normally none", 3000.0, None, "Hz", 4.0)
    told = Explanation(ALARM_ID, "press-4", 0, "measured", 4, "A tone at 3 kHz.", findings=(tone,), latency_s=0.2)
    untold = Explanation(ALARM_ID, "press-4", 1, "combination", 4, None, reason="the day's budget is spent")
    for explanation, expected in ((told, "ok"), (untold, "unavailable")):
        payload = compose.explanation_payload(NODE, PUMP, explanation, at_ms=AT_MS, clock_synced=True)
        checked = _checked("explanation", payload)
        assert checked["status"] == expected
        assert checked["findings"] == len(explanation.findings)
    assert "finding_1_name" not in checked


def test_a_trend_says_both_scales_flat() -> None:
    """A rise with its forecast, in figures of three digits; too few days are unknown, an open interval is absent."""
    forecast = Forecast(AT_MS / 1000 + 3600, AT_MS / 1000 + 1800, AT_MS / 1000 + 7200)
    slope = math.log(1.12) / 3600
    rising = Trend(Direction.RISING, AT_MS / 1000 - 7200, slope, slope / 2, math.inf, 0.71239, 72, forecast)
    payload = compose.trend_payload(
        NODE, PUMP, MachineTrends("pump-3", 4, rising, None), text="rising", at_ms=AT_MS, clock_synced=True
    )
    decoded = _checked("trend", payload)
    assert (decoded["rising"], decoded["generation"], decoded["text"]) == (1, 4, "Cooling pump 3: rising")
    assert {name: value for name, value in decoded.items() if name.startswith(("hours", "days"))} == {
        "hours_direction": "rising",
        "hours_since": "2026-01-31T06:00:00.250Z",
        "hours_since_ms": AT_MS - 7_200_000,
        "hours_slope_percent_per_h": 12.0,
        "hours_slope_low_percent_per_h": 5.83,
        "hours_ratio": 0.712,
        "hours_threshold_at_ms": AT_MS + 3_600_000,
        "hours_threshold_earliest_ms": AT_MS + 1_800_000,
        "hours_threshold_latest_ms": AT_MS + 7_200_000,
        "days_direction": "unknown",
    }
    nothing = compose.trend_payload(
        NODE, PUMP, MachineTrends("pump-3", None, None, None), text="", at_ms=AT_MS, clock_synced=None
    )
    assert "generation" not in _checked("trend", nothing)


def test_digital_silence_has_a_finite_level() -> None:
    """Minus infinity dBFS is published as -200."""
    silent = dataclasses.replace(SCORE, level_dbfs=float("-inf"))
    payload = compose.score_payload(NODE, PUMP, silent, lag_s=0.0, at_ms=AT_MS, clock_synced=True)
    assert _checked("score", payload)["level_dbfs"] == -200.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_score_that_is_no_distance_is_refused(value: float) -> None:
    """What is not finite or below zero cannot become a payload."""
    with pytest.raises(ValidationError):
        compose.score_payload(
            NODE, PUMP, dataclasses.replace(SCORE, value=value), lag_s=0.0, at_ms=AT_MS, clock_synced=True
        )


def test_the_committed_documents_are_the_generated_ones() -> None:
    """docs/mqtt holds what the models say; `python -m edge_monitor.deliver.schemas docs/mqtt` regenerates it."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in DOCS.iterdir()}
    assert committed == schemas.files()


_FIGURES = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
_ANY_TEXT = st.text(st.characters(), max_size=300)  # surrogates included: a file name may hold undecodable bytes
_MOMENTS = st.integers(0, 4_102_444_800_000)  # until 2100
_NEIGHBOURS = st.lists(st.builds(Neighbour, st.integers(0, 2**53), _FIGURES, _ANY_TEXT, _FIGURES), max_size=6).map(
    tuple
)


@given(
    name=st.text(st.characters(), max_size=80),
    kind=st.sampled_from([EventKind.START, EventKind.UPDATE, EventKind.END]),
    figures=st.tuples(_FIGURES, _FIGURES, _FIGURES.filter(lambda threshold: threshold > 0)),
    level=st.floats(allow_nan=True, allow_infinity=True),
    moments=st.tuples(_MOMENTS, _MOMENTS),
    neighbours=_NEIGHBOURS,
    texts=st.tuples(_ANY_TEXT, _ANY_TEXT),
)
def test_any_alarm_becomes_a_valid_alert_and_state(
    *,
    name: str,
    kind: EventKind,
    figures: tuple[float, float, float],
    level: float,
    moments: tuple[int, int],
    neighbours: tuple[Neighbour, ...],
    texts: tuple[str, str],
) -> None:
    """Weird display names, file names, levels and magnitudes: always valid, printable, the same bytes twice."""
    machine = PUMP.model_copy(update={"display_name": name})
    event = dataclasses.replace(
        EVENT,
        kind=kind,
        score=figures[0],
        peak_score=figures[1],
        peak_ratio=figures[1] / figures[2],
        threshold=figures[2],
        level_dbfs=level,
        at_ms=moments[0],
        since_ms=moments[1],
        neighbours=neighbours,
        reason=texts[0],
    )
    alert = compose.alert_payload(NODE, machine, event, bundle=texts[1], clock_synced=True, evidence=texts[1])
    decoded = _checked("alert", alert)
    assert alert.encode() == alert.encode()
    assert all(value.isprintable() for value in decoded.values() if isinstance(value, str))
    assert decoded["score"] == figures[0]
    score = dataclasses.replace(SCORE, value=figures[0], threshold=figures[2], level_dbfs=level)
    state = compose.state_payload(
        NODE,
        machine,
        state=MachineState.ALARM,
        since_ms=moments[1],
        at_ms=moments[0],
        clock_synced=None,
        alarm_id=ALARM_ID,
        score=score,
        detail=texts[0],
    )
    assert len(_checked("state", state)["text"]) <= 120
