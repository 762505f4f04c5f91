"""What the long memory promises, and the condition that comes of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.alarm.growth import Growth
from edge_monitor.alarm.long_memory import Compared, LongMemory, Remembered
from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.config.machine import AlarmSettings
from edge_monitor.records import AlarmEvent, Condition, EventKind, Score

if TYPE_CHECKING:
    from collections.abc import Iterable

# Ten windows of 10 s are the hour here, thirty the three hours: eight and 24 above the line; a tenth is one window.
SHORT = {"changed_after_s": 100.0, "alarm_after_s": 300.0, "off_delay_s": 0.0, "update_interval_s": 100.0}
USUAL, CHANGED, LOUD = 0.4, 0.8, 2.0  # the line is 0.5, the threshold 1


def settings(**changed: object) -> AlarmSettings:
    """Return the settings of a short memory."""
    return AlarmSettings.model_validate(SHORT | changed)


def score(end_s: float, value: float, generation: int = 1) -> Score:
    """Return the score of the 10 s window that ends at `end_s`."""
    return Score("pump", value, 1.0, generation, (), end_s - 10.0, end_s, -20.0, low_line=0.5)


def machine(restored: Restored | None = None, **changed: object) -> AlarmStateMachine:
    """Return a state machine with a short memory, whose alarms are called a0, a1 and so on."""
    numbers = count()
    return AlarmStateMachine("pump", settings(**changed), lambda: f"a{next(numbers)}", restored or Restored())


def play(
    alarm: AlarmStateMachine, values: Iterable[float], *, first_end_s: float = 10.0, hop_s: float = 10.0
) -> list[AlarmEvent]:
    """Feed one score a hop and return the events."""
    ends = (first_end_s + hop_s * i for i in count())
    heard = (alarm.on_score(score(end_s, value), int(1000 * end_s)) for end_s, value in zip(ends, values, strict=False))
    return [event for event in heard if event is not None]


def story(events: Iterable[AlarmEvent]) -> list[tuple[str, str, float, int, int | None]]:
    """Return id, kind, moment, seq of the alert, seq of the condition."""
    return [(e.alarm_id, e.kind.value, e.at_s, e.seq, None if e.episode is None else e.episode.seq) for e in events]


def test_counts_follow_from_the_settings_and_the_window() -> None:
    """An hour of 10 s windows is 360 of which 288 say "changed", one of 7 s windows 514."""
    hour = LongMemory(3600.0, 10_800.0, 10.0).first
    for i in range(287):
        hour.add(Compared(10.0 * i, above=True, times_line=1.5))
    assert (hour.n, hour.reached) == (360, False)
    hour.add(Compared(2870.0, above=True, times_line=1.5))
    assert hour.reached
    assert hour.words == "288 of the last 360 windows (1 h) above what healthy sound rarely keeps up"
    assert LongMemory(3600.0, 10_800.0, 10.0).second.n == 1080
    assert LongMemory(3600.0, 10_800.0, 7.0).first.n == 514


def test_an_hour_is_changed_and_three_hours_are_an_alarm_under_the_same_id() -> None:
    """No window is loud; the alert's sequence begins with the alarm, the condition's with the episode."""
    events = play(machine(), [CHANGED] * 30)
    assert story(events) == [("a0", "changed", 80.0, -1, 0), ("a0", "start", 240.0, 0, 1)]
    changed, start = events
    assert (changed.condition, start.condition) == (Condition.CHANGED, Condition.ALARM)
    assert (changed.raised, start.raised, changed.begins, start.begins) == (False, True, True, False)
    assert changed.episode is not None
    assert (changed.episode.windows, changed.episode.of, changed.episode.times_line) == (8, 10, 1.6)
    assert start.reason == "24 of the last 30 windows (5 min) above what healthy sound rarely keeps up"
    assert (changed.since_ms, start.since_ms) == (80_000, 240_000)


def test_overlapping_windows_count_once() -> None:
    """With a hop of 1 s the same sound says the same."""
    assert story(play(machine(), [CHANGED] * 300, hop_s=1.0))[:1] == [("a0", "changed", 80.0, -1, 0)]


def test_less_than_four_in_five_says_nothing() -> None:
    """Seven of ten for a day are as usual."""
    assert play(machine(), ([CHANGED] * 7 + [USUAL] * 3) * 300) == []


def test_an_episode_ends_when_half_of_the_hour_is_below_the_line() -> None:
    """Between the two shares nothing happens, so that it does not flap; an end is told without an alert."""
    events = play(machine(), [CHANGED] * 10 + [USUAL] * 4 + [CHANGED] * 10 + [USUAL] * 5)
    assert story(events) == [("a0", "changed", 80.0, -1, 0), ("a0", "end", 290.0, -1, 1)]
    assert events[1].reason == "5 of the last 10 windows (1.67 min) below what healthy sound rarely keeps up"
    assert events[1].condition is Condition.USUAL


def test_a_sustained_alarm_does_not_end_at_once_because_it_is_not_loud() -> None:
    """It ends as its episode does."""
    events = play(machine(clear_ratio=0.9), [CHANGED] * 60 + [USUAL] * 5)
    assert [(e.kind, e.at_s) for e in events if e.kind is not EventKind.UPDATE] == [
        (EventKind.CHANGED, 80.0),
        (EventKind.START, 240.0),
        (EventKind.END, 650.0),
    ]


def test_a_loud_fault_makes_the_episode_an_alarm_that_is_held_until_the_hour_clears() -> None:
    """Three of five raise it under its id; below the clear level it goes on: a fault that comes and goes is one."""
    events = play(machine(), [CHANGED] * 10 + [LOUD] * 3 + [CHANGED] * 5 + [USUAL] * 5)
    assert story(e for e in events if e.kind is not EventKind.UPDATE) == [
        ("a0", "changed", 80.0, -1, 0),
        ("a0", "start", 130.0, 0, 1),
        ("a0", "end", 230.0, 1, 2),
    ]
    assert events[1].reason == "3 of the last 5 disjoint windows exceed the threshold"


def test_a_gross_fault_has_no_episode_and_ends_when_it_is_quiet() -> None:
    """What it left in the memory begins none: what is over raises nothing."""
    events = play(machine(off_delay_s=20.0), [LOUD] * 30 + [USUAL] * 30)
    assert story(e for e in events if e.kind is not EventKind.UPDATE) == [
        ("a0", "start", 30.0, 0, None),
        ("a0", "end", 330.0, 3, None),
    ]


def test_a_gross_fault_that_becomes_quieter_and_stays_begins_an_episode() -> None:
    """Under a new id, with fresh evidence; where it has lasted for the longer memory, it is an alarm again at once."""
    events = play(machine(), [LOUD] * 30 + [CHANGED] * 5)
    assert story(e for e in events if e.kind is not EventKind.UPDATE)[-3:] == [
        ("a0", "end", 310.0, 3, None),
        ("a1", "changed", 320.0, -1, 0),
        ("a1", "start", 330.0, 0, 1),
    ]


def test_changed_can_raise_the_alarm_itself() -> None:
    """`raise_on = "changed"`: start of episode and alarm are one."""
    [event] = play(machine(raise_on="changed"), [CHANGED] * 9)
    assert (event.kind, event.seq, event.episode and event.episode.seq, event.begins) == (EventKind.START, 0, 0, True)


def test_gaps_stops_and_lost_sound_keep_the_memory() -> None:
    """Four windows before, four after: changed."""
    alarm = machine()
    assert play(alarm, [CHANGED] * 4) == []
    alarm.on_audio_loss()
    assert story(play(alarm, [CHANGED] * 4, first_end_s=1500.0)) == [("a0", "changed", 1530.0, -1, 0)]


def test_a_window_counts_for_24_times_the_memory() -> None:
    """What is older has fallen out: seven old windows and one new one are no hour."""
    alarm = machine()
    play(alarm, [CHANGED] * 7)
    assert play(alarm, [CHANGED] * 7, first_end_s=70.0 + 2400.0 + 10.0) == []


def test_a_stop_of_days_clears_no_episode() -> None:
    """What was not heard is no evidence of health: half an hour of healthy windows must come."""
    alarm = machine()
    play(alarm, [CHANGED] * 8)
    assert play(alarm, [USUAL] * 4, first_end_s=1e6) == []
    assert story(play(alarm, [USUAL], first_end_s=1e6 + 40.0)) == [("a0", "end", 1e6 + 40.0, -1, 1)]


def test_windows_while_inhibited_count_neither_way() -> None:
    """No episode begins meanwhile, none right after it, and one that is active is held."""
    alarm = machine()
    play(alarm, [CHANGED] * 7)
    alarm.inhibit(70.0, 200.0)
    assert play(alarm, [CHANGED] * 19, first_end_s=80.0) == []
    assert alarm.above is None
    assert story(play(alarm, [CHANGED], first_end_s=280.0)) == [("a0", "changed", 280.0, -1, 0)]
    alarm.inhibit(280.0, 1000.0)
    assert play(alarm, [USUAL] * 50, first_end_s=290.0) == []
    assert alarm.active is not None


def test_another_generation_begins_anew() -> None:
    """Its line is another one; an episode is held until that says it is over."""
    alarm = machine()
    play(alarm, [CHANGED] * 7)
    assert [alarm.on_score(score(80.0 + 10.0 * i, CHANGED, generation=2), 0) for i in range(7)] == [None] * 7
    begun = alarm.on_score(score(150.0, CHANGED, generation=2), 0)
    assert begun is not None
    assert begun.kind is EventKind.CHANGED
    assert [alarm.on_score(score(160.0 + 10.0 * i, USUAL, generation=3), 0) for i in range(4)] == [None] * 4
    ended = alarm.on_score(score(200.0, USUAL, generation=3), 0)
    assert ended is not None
    assert ended.kind is EventKind.END


def test_without_a_line_nothing_is_changed_and_an_episode_ends_when_it_is_quiet() -> None:
    """A generation that knows too few blocks to have a line holds nothing for ever."""
    alarm = machine()
    assert [alarm.on_score(replace(score(10.0 * i, 0.95), low_line=None), 0) for i in range(1, 50)] == [None] * 49
    play(alarm, [CHANGED] * 8, first_end_s=1000.0)
    ended = alarm.on_score(replace(score(2000.0, USUAL), low_line=None), 0)
    assert ended is not None
    assert ended.kind is EventKind.END


def test_a_restart_goes_on_with_episode_and_memory() -> None:
    """The same id becomes an alarm, with the sequences that follow; ages count from the restart."""
    [changed] = play(machine(), [CHANGED] * 8)
    kept = Remembered(1, tuple(Compared(-10.0 * i, above=True, times_line=1.6) for i in range(23, -1, -1)))
    again = machine(Restored(active=changed, memory=kept))
    [start] = play(again, [CHANGED], first_end_s=5010.0)
    assert (start.alarm_id, start.seq, start.episode and start.episode.seq) == ("a0", 0, 1)
    old = replace(kept, windows=tuple(replace(each, end_s=each.end_s - 7200.0) for each in kept.windows))
    assert play(machine(Restored(memory=old)), [CHANGED] * 7) == []
    other = replace(kept, generation=2)
    assert play(machine(Restored(memory=other)), [CHANGED] * 7) == []


def test_a_memory_that_was_restored_needs_fresh_evidence() -> None:
    """A machine that was repaired while the node was off is not called changed."""
    kept = Remembered(1, tuple(Compared(-10.0 * i, above=True, times_line=1.6) for i in range(23, -1, -1)))
    assert play(machine(Restored(memory=kept)), [USUAL] * 50) == []


def test_a_cooldown_keeps_the_alarm_away_and_not_the_episode() -> None:
    """An advisory wakes nobody."""
    alarm = machine(Restored(cooldown_left_s=1000.0))
    events = play(alarm, [CHANGED] * 110)
    assert [(e.kind, e.at_s) for e in events[:2]] == [(EventKind.CHANGED, 80.0), (EventKind.START, 1010.0)]


@pytest.mark.parametrize(
    ("medians", "growing"),
    [
        ([1.5], [False]),
        ([1.5, 1.7, 1.79], [False, False, False]),
        ([1.5, 1.9, 1.7, 1.6], [False, True, True, False]),
        ([1.5, 0.2, 3.0], [False, False, True]),
    ],
)
def test_an_alarm_grows_from_a_fifth_more_until_it_is_less_than_a_tenth(
    medians: list[float], growing: list[bool]
) -> None:
    """The median of the last interval against that of the first; between the two it stays what it was."""
    growth = Growth()
    found = []
    for each in medians:
        for ratio in (0.0, each, each, 9.0):
            growth.add(ratio)
        growth.end_interval()
        found.append(growth.growing)
    assert found == growing


def test_a_growing_alarm_is_condition_4_and_stays_so_over_a_restart() -> None:
    """Its first interval is kept with it."""
    events = play(machine(), [LOUD] * 13 + [3.0] * 10)
    assert [(e.kind, e.condition) for e in events] == [
        (EventKind.START, Condition.ALARM),
        (EventKind.UPDATE, Condition.ALARM),
        (EventKind.UPDATE, Condition.GROWING),
    ]
    [again] = play(machine(Restored(active=events[-1])), [3.0] * 11)
    assert (again.condition, again.first_ratio) == (Condition.GROWING, LOUD)
    [calmer] = play(machine(Restored(active=events[-1])), [LOUD] * 11)
    assert calmer.condition is Condition.ALARM


def check_next(event: AlarmEvent, active: AlarmEvent | None) -> None:
    """Assert that an event may follow the last one of what is active."""
    if active is None:
        assert event.begins
        assert event.seq == (0 if event.raised else -1)
        assert event.episode is None or event.episode.seq == 0
        return
    assert not event.begins
    assert event.alarm_id == active.alarm_id
    assert event.seq == active.seq + (event.raised or active.raised)
    told = event.kind is not EventKind.UPDATE and active.episode is not None
    assert (event.episode and event.episode.seq) == (active.episode and active.episode.seq + told)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.2, 0.5, 0.51, 0.8, 0.95, 1.5, 3.0]),
            st.integers(1, 30),  # how many windows
            st.sampled_from([0.0, 0.0, 5.0, 500.0, 1e5]),  # gap before them, seconds
            st.sampled_from(["", "", "loss", "inhibit", "generation", "restart"]),
        ),
        max_size=25,
    ),
    raise_on=st.sampled_from(["alarm", "changed"]),
    cooldown_s=st.sampled_from([0.0, 400.0]),
)
def test_events_of_any_stream_are_well_formed(
    steps: list[tuple[float, int, float, str]], raise_on: str, cooldown_s: float
) -> None:
    """One id at a time, both sequences without holes, `alarm` exactly from start to end, nothing while inhibited."""
    numbers = count()
    rules = settings(raise_on=raise_on, cooldown_s=cooldown_s)

    def made(restored: Restored) -> AlarmStateMachine:
        return AlarmStateMachine("pump", rules, lambda: f"a{next(numbers)}", restored)

    alarm, end_s, generation, inhibited_s = made(Restored()), 0.0, 1, -1.0
    active: AlarmEvent | None = None
    ids: set[str] = set()
    for value, windows, gap_s, before in steps:
        end_s += gap_s
        if before == "loss":
            alarm.on_audio_loss()
        elif before == "inhibit":
            alarm.inhibit(end_s, 100.0)
            inhibited_s = end_s + 100.0
        elif before == "generation":
            generation += 1
        elif before == "restart":
            alarm = made(Restored(active=active))
            inhibited_s = -1.0
        for _ in range(windows):
            end_s += 10.0
            event = alarm.on_score(score(end_s, value, generation), int(end_s * 1000))
            if event is None:
                continue
            check_next(event, active)
            assert (event.alarm_id in ids) == (active is not None)
            if event.kind in {EventKind.CHANGED, EventKind.START}:
                assert end_s >= inhibited_s
                assert event.kind is EventKind.START or raise_on == "alarm" or cooldown_s
            ids.add(event.alarm_id)
            assert (event.condition >= Condition.ALARM) == (event.raised and event.kind is not EventKind.END)
            active = None if event.kind is EventKind.END else event
        assert alarm.active == active
