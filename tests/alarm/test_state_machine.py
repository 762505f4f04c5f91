"""What the alarm state machine promises."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.config.machine import AlarmSettings
from edge_monitor.records import AlarmEvent, EventKind, Score

if TYPE_CHECKING:
    from collections.abc import Iterable

SETTINGS = AlarmSettings.model_validate(
    {"raise": (3, 5), "clear_ratio": 0.9, "off_delay_s": 30.0, "update_interval_s": 300.0, "cooldown_s": 0.0}
)


def score(end_s: float, value: float) -> Score:
    """Return the score of the 10 s window that ends at `end_s`; the threshold is 1."""
    return Score(
        machine="pump",
        value=value,
        threshold=1.0,
        generation=1,
        neighbours=(),
        start_s=end_s - 10.0,
        end_s=end_s,
        level_dbfs=-20.0,
    )


def machine(settings: AlarmSettings = SETTINGS, restored: Restored | None = None) -> AlarmStateMachine:
    """Return a state machine whose alarms are called a0, a1 and so on."""
    numbers = count()
    return AlarmStateMachine("pump", settings, lambda: f"a{next(numbers)}", restored or Restored())


def play(
    alarm: AlarmStateMachine, values: Iterable[float], *, first_end_s: float = 10.0, hop_s: float = 1.0
) -> list[AlarmEvent]:
    """Feed one score a hop and return the events."""
    ends = (first_end_s + hop_s * i for i in count())
    events = (
        alarm.on_score(score(end_s, value), wall_ms=int(end_s * 1000))
        for end_s, value in zip(ends, values, strict=False)
    )
    return [event for event in events if event is not None]


def test_three_of_five_disjoint_windows_raise() -> None:
    """The third exceeding window that shares no sound with the others raises, and not before."""
    events = play(machine(), [2.0] * 100)
    assert [(event.kind, event.at_s) for event in events] == [(EventKind.START, 30.0)]


def test_one_burst_in_every_overlapping_window_does_not_raise() -> None:
    """A burst that sits in ten overlapping windows is one observation."""
    assert play(machine(), [0.5] * 30 + [5.0] * 10 + [0.5] * 60) == []


def test_two_bursts_do_not_raise() -> None:
    """Two of five are not three of five."""
    assert play(machine(), [0.5] * 10 + [5.0] * 10 + [0.5] * 12 + [5.0] * 10 + [0.5] * 60) == []


def test_a_window_on_the_threshold_is_normal() -> None:
    """As in the paper, only scores above the threshold are anomalous."""
    assert play(machine(), [1.0] * 100) == []


def test_an_alarm_keeps_its_id_and_counts_its_events() -> None:
    """Start, updates and end carry one id and a sequence without holes."""
    events = play(machine(), [2.0] * 650 + [0.5] * 60)
    assert [(event.alarm_id, event.seq, event.kind.value) for event in events] == [
        ("a0", 0, "start"),
        ("a0", 1, "update"),
        ("a0", 2, "update"),
        ("a0", 3, "end"),
    ]


def test_hysteresis_holds_the_alarm_between_clear_level_and_threshold() -> None:
    """A score that falls below the threshold but not below the clear level ends nothing."""
    events = play(machine(), [2.0] * 30 + [0.95] * 200)
    assert [event.kind for event in events] == [EventKind.START]


def test_the_off_delay_starts_anew_with_every_relapse() -> None:
    """Only an unbroken stretch below the clear level ends an alarm."""
    values = [2.0] * 21 + [0.5] * 25 + [1.5] + [0.5] * 31
    events = play(machine(), values)
    # Windows end at 10, 11, …: the relapse at 56, the first window below at 57, 30 s later 87.
    assert [(event.kind, event.at_s) for event in events] == [(EventKind.START, 30.0), (EventKind.END, 87.0)]


def test_after_an_end_three_new_windows_are_needed() -> None:
    """Windows of an ended alarm do not help to raise the next one."""
    events = play(machine(), [2.0] * 30 + [0.5] * 31 + [2.0] * 21)
    assert [event.kind for event in events] == [EventKind.START, EventKind.END, EventKind.START]
    assert [event.alarm_id for event in events] == ["a0", "a0", "a1"]


def test_no_alarm_during_the_cooldown() -> None:
    """A cooldown in stream time keeps the next alarm away."""
    settings = AlarmSettings.model_validate({"raise": (1, 1), "off_delay_s": 0.0, "cooldown_s": 60.0})
    events = play(machine(settings), [2.0, 0.5] + [2.0] * 80)
    assert [(event.kind, event.at_s) for event in events] == [
        (EventKind.START, 10.0),
        (EventKind.END, 11.0),
        (EventKind.START, 71.0),
    ]


def test_a_restart_goes_on_with_the_same_alarm() -> None:
    """A restored alarm keeps its id, its sequence and its peak, and ends like any other."""
    [start] = play(machine(), [3.0] * 21)
    again = machine(restored=Restored(active=start))
    events = play(again, [0.5] * 31)
    assert [(event.alarm_id, event.seq, event.kind, event.peak_score) for event in events] == [
        ("a0", 1, EventKind.END, 3.0)
    ]


def test_a_restart_forgets_the_windows_before() -> None:
    """Two exceeding windows before a restart and one after it do not raise."""
    play(machine(), [2.0] * 15)
    assert play(machine(), [2.0] * 20) == []


def test_audio_loss_neither_clears_nor_counts() -> None:
    """An active alarm outlasts lost sound, and windows from before the loss confirm nothing after it."""
    alarm = machine()
    play(alarm, [2.0] * 30)
    alarm.on_audio_loss()
    assert alarm.active is not None
    quiet = machine()
    play(quiet, [2.0] * 20)
    quiet.on_audio_loss()
    assert play(quiet, [2.0] * 20, first_end_s=100.0) == []


def test_unheard_time_interrupts_the_off_delay() -> None:
    """The time a machine stands, or its signal is faulty, is no evidence that it is healthy."""
    alarm = machine()
    play(alarm, [2.0] * 21 + [0.5] * 20)
    assert play(alarm, [0.5] * 30, first_end_s=65.0) == []
    assert alarm.active is not None


def test_a_machine_that_often_stops_can_still_alarm() -> None:
    """Exceeding windows on both sides of a stop confirm one another."""
    alarm = machine()
    assert play(alarm, [2.0] * 15) == []
    events = play(alarm, [2.0] * 15, first_end_s=500.0)
    assert [event.kind for event in events] == [EventKind.START]


def test_inhibition_keeps_new_alarms_away_and_ends_by_itself() -> None:
    """During an inhibition nothing is raised; afterwards everything is as before."""
    alarm = machine()
    alarm.inhibit(at_s=0.0, duration_s=60.0)
    events = play(alarm, [2.0] * 80)
    assert [(event.kind, event.at_s) for event in events] == [(EventKind.START, 60.0)]


def test_what_was_left_of_an_inhibition_is_restored() -> None:
    """Time left at a restart counts from the first window that is heard."""
    alarm = machine(restored=Restored(inhibit_left_s=45.0))
    events = play(alarm, [2.0] * 80, first_end_s=1000.0)
    assert [event.at_s for event in events] == [1045.0]


def test_evidence_is_the_confirming_window() -> None:
    """The event points at the window that confirmed it; the peak is the highest of the confirming ones."""
    [start] = play(machine(), [2.0] * 10 + [7.0] + [2.0] * 30)
    assert (start.window_start_s, start.window_end_s, start.peak_score, start.score) == (20.0, 30.0, 7.0, 2.0)


@given(
    values=st.lists(st.floats(min_value=0.0, max_value=3.0), max_size=120),
    hop_s=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
)
def test_events_of_any_stream_are_well_formed(values: list[float], hop_s: float) -> None:
    """Whatever the scores, alarms start, count up without holes, and end before the next one starts."""
    active: str | None = None
    seq = -1
    for event in play(machine(), values, hop_s=hop_s):
        if event.kind is EventKind.START:
            assert active is None
            assert event.seq == 0
            active = event.alarm_id
        else:
            assert event.alarm_id == active
            assert event.seq == seq + 1
        seq = event.seq
        if event.kind is EventKind.END:
            active = None
