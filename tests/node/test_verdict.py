"""The verdict: good, thin or deaf, and the next step in one short line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.config.file import load_settings
from edge_monitor.memory.audibility import Audibility, FaultLevel
from edge_monitor.memory.calibration import LABELLED, METHOD, Calibration
from edge_monitor.memory.coverage import Coverage
from edge_monitor.memory.low_line import LowLine
from edge_monitor.memory.odd_sound import OddSound
from edge_monitor.node.node import Node
from edge_monitor.node.verdict import Facts, judge
from edge_monitor.records import MachineState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.product import Product

MOST_CHARACTERS = 98  # of a line of 100: `status` sets it two to the right
CALIBRATION = Calibration(
    threshold=1.2,
    wanted_per_day=0.1,
    expected_per_day=0.1,
    expected_low_per_day=0.01,
    expected_high_per_day=1.0,
    cannot_promise_below_per_day=430.0,
    p=0.01,
    dependence=0.0,
    raise_m=3,
    raise_n=5,
    window_s=10.0,
    blocks=15,
    windows=45,
    seconds=450.0,
    median_score=0.8,
    max_score=1.0,
    method=METHOD,
    coverage=Coverage(enough=True, sentence=""),
    at_most_per_day=575.0,
    independent_blocks=15,
    low_line=LowLine(0.95, per_month=0.9, at_most_per_month=720.0),
)
ODD = OddSound(recording=7, start_s=0.0, score=5.0, next_score=1.0, threshold_without=1.2)


def changed(**fields: Any) -> Calibration:  # noqa: ANN401 - Calibration's own fields
    """Return a calibration, changed so."""
    return replace(CALIBRATION, **fields)


def line(**fields: Any) -> str:  # noqa: ANN401 - Calibration's own fields
    """Return the verdict on a calibration, changed so."""
    return judge(Facts(changed(**fields))).line


def test_enough_normal_sound_and_a_low_threshold_are_good() -> None:
    """What is left to do is to let it hear; once the wanted rate is promised, nothing is."""
    assert line() == "good: after some days `edge-monitor calibrate` can promise fewer false alarms"
    assert line(at_most_per_day=0.1) == "good: nothing to do"


def test_of_few_blocks_it_says_how_much_more_is_needed() -> None:
    """Twelve are wanted: each takes 30 s of live sound and a window of guard, rounded up to minutes."""
    thin = "thin: enrol {} of healthy sound, best on another day"
    assert line(blocks=5, independent_blocks=5) == thin.format("5 more minutes")
    assert line(blocks=11, independent_blocks=11) == thin.format("1 more minute")
    assert line(blocks=12, independent_blocks=12).startswith("good: ")


def test_sound_that_resembles_itself_or_still_surprises_is_thin() -> None:
    """15 blocks of which three make one independent stretch give five: seven more take 21. Or as much as before."""
    alike = "thin: the healthy sound is all alike: enrol 14 more minutes, best on another day"
    assert line(independent_blocks=5) == alike
    varied = Coverage(enough=False, sentence="")
    surprising = "thin: healthy sound still surprises: enrol 8 more minutes, best on another day"
    assert line(coverage=varied) == surprising
    assert "enrol 3 more hours" in line(coverage=varied, seconds=10_000.0)


def hearing(*levels_db: int | None) -> Audibility:
    """Return faults that are heard from these levels."""
    faults = tuple(FaultLevel("bearing", (2000.0, 4000.0), each, None) for each in levels_db)
    return Audibility(faults, no_flow=False, windows=20, minute_s=50.0, low_line=False)


def test_where_faults_were_mixed_in_the_verdict_goes_by_what_was_heard() -> None:
    """From 6 dB half of them have to be heard, or it is thin, from 12 dB, or it is deaf; whatever the threshold."""
    assert line(audibility=hearing(-3, 6, 20), threshold=9.0).startswith("good: ")
    loud = "thin: only loud faults would be heard: enrol more sound, or move the microphone"
    assert line(audibility=hearing(7, 7, None)) == loud
    assert line(audibility=hearing(12, 12, None)) == loud
    assert line(audibility=hearing(-3, 13, 20)).startswith("deaf: only gross faults would be heard: enrol ")
    assert line(audibility=hearing(-3, None, None)).startswith("deaf: ")
    assert "from +7 dB (thin above +6, deaf above +12)" in judge(Facts(changed(audibility=hearing(7)))).figures


def test_of_a_threshold_of_one_s_own_nothing_was_measured() -> None:
    """The faults were heard or not by the calibrated one."""
    found = judge(Facts(changed(audibility=hearing(None)), threshold=1.3))
    assert found.level == "good"


def test_without_a_low_line_it_is_deaf_or_has_to_be_calibrated() -> None:
    """Too few blocks have none, nor has what an earlier version calibrated."""
    assert line(low_line=None, blocks=3, independent_blocks=3) == (
        "deaf: only gross faults would be heard: enrol 6 more minutes of healthy sound"
    )
    assert line(low_line=None, blocks=3, independent_blocks=3, method=LABELLED).startswith("thin: ")
    assert line(low_line=None) == ("thin: only gross faults are heard yet: `edge-monitor calibrate` finds the low line")


def test_a_sound_unlike_all_others_is_named_and_does_not_count_as_healthy() -> None:
    """Where there is no low line it is deaf, too."""
    step = "was recording #7 healthy? Enrol more like it; if not, `normals remove` it"
    assert line(odd=ODD, max_score=5.0) == f"thin: {step}"
    assert line(odd=ODD, max_score=5.0, low_line=None, blocks=3, independent_blocks=3) == f"deaf: {step}"
    assert "low line 0.95, " in judge(Facts(changed(odd=ODD, max_score=5.0))).figures


def test_a_threshold_of_one_s_own_is_judged_as_it_is() -> None:
    """Far above the calibrated one only lasting faults are heard, below it keeps no promise, in between it is good."""

    def own(threshold: float) -> str:
        return judge(Facts(CALIBRATION, threshold=threshold)).line

    assert own(2.5) == 'thin: machine.alarm.threshold is far above the calibrated one: lower it, or set "calibrated"'
    assert own(1.5).startswith("good: ")
    assert own(1.1) == "thin: machine.alarm.threshold is below the calibrated one: more false alarms than promised"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(), "deaf: not enrolled: `edge-monitor enroll` while the machine is healthy"),
        (Facts(damaged=True), "deaf: what was learnt is damaged: `edge-monitor doctor` says what to do"),
        (
            Facts(CALIBRATION, refused=0.51),
            'deaf: running.gate is above most healthy sound: lower it, or set it to "learnt"',
        ),
        (
            Facts(CALIBRATION, state=MachineState.NO_AUDIO),
            "deaf: no sound comes: `edge-monitor doctor` says what to do",
        ),
        (
            Facts(CALIBRATION, state=MachineState.SIGNAL_FAULT),
            "deaf: its sound cannot be judged: `edge-monitor doctor` says what to do",
        ),
        (
            Facts(CALIBRATION, state=MachineState.SENSOR_CHANGED),
            "deaf: microphone covered or gone? Else set gain or sample rate back, or enrol with --anew",
        ),
        (Facts(state=MachineState.LEARNING), "deaf: it is being enrolled: no alarm until that ends"),
        (
            Facts(CALIBRATION, state=MachineState.INHIBITED),
            "deaf: alarms are inhibited: `edge-monitor inhibit --resume` ends that",
        ),
        (
            Facts(CALIBRATION, state=MachineState.NOT_RUNNING, stands_too_long=True),
            "deaf: not running for longer than not_running_max_s: is it off, or running.gate too high?",
        ),
    ],
)
def test_what_cannot_be_scored_is_deaf_whatever_was_learnt(facts: Facts, said: str) -> None:
    """The next step says why."""
    assert judge(facts).line == said


@pytest.mark.parametrize("state", [MachineState.NORMAL, MachineState.ALARM, MachineState.NOT_RUNNING])
def test_a_machine_that_is_heard_or_stands_still_is_judged_by_what_was_learnt(state: MachineState) -> None:
    """A pump that is switched off at night is not deaf."""
    assert judge(Facts(CALIBRATION, state=state)).level == "good"


def test_a_disk_that_fails_is_no_reason_to_do_nothing() -> None:
    """Alarms are sent from memory, and lost with it; what keeps them from being raised comes first."""
    failing = Facts(replace(CALIBRATION, at_most_per_day=0.1), disk_fails=True)
    assert judge(failing).line == (
        "thin: the disk fails, alarms are in memory alone: `edge-monitor doctor` says what to do"
    )
    few = replace(CALIBRATION, low_line=None, blocks=3, independent_blocks=3)
    assert judge(replace(failing, calibration=few)).level == "deaf"
    assert judge(replace(failing, state=MachineState.NO_AUDIO)).level == "deaf"


scores = st.floats(1e-12, 1e12)
calibrations = st.builds(
    replace,
    st.just(CALIBRATION),
    threshold=scores,
    max_score=scores,
    blocks=st.integers(1, 100_000),
    independent_blocks=st.none() | st.integers(1, 100_000),
    seconds=st.floats(10.0, 1e9),
    window_s=st.floats(0.1, 60.0),
    coverage=st.builds(Coverage, st.booleans(), st.just("")),
    at_most_per_day=st.none() | st.floats(1e-6, 1e6),
    method=st.sampled_from([METHOD, LABELLED]),
    low_line=st.none() | st.builds(LowLine, scores, scores, scores),
    odd=st.none() | st.builds(replace, st.just(ODD), recording=st.integers(1, 2**63 - 1), next_score=scores),
)


@given(
    st.builds(
        Facts,
        calibration=st.none() | calibrations,
        threshold=st.none() | scores,
        refused=st.floats(0.0, 1.0),
        damaged=st.booleans(),
        state=st.none() | st.sampled_from(MachineState),
        stands_too_long=st.booleans(),
        disk_fails=st.booleans(),
    )
)
def test_every_verdict_is_one_short_line(facts: Facts) -> None:
    """Whatever the facts: a level, a step, and no more than fits beside it."""
    verdict = judge(facts)
    assert verdict.line.partition(": ")[0] in {"good", "thin", "deaf"}
    assert len(verdict.line) <= MOST_CHARACTERS
    assert "\n" not in verdict.line + verdict.figures


@pytest.mark.parametrize(
    ("gate", "level"), [('"learnt"', "good"), ('"off"', "good"), ("-60", "good"), ("-1", "deaf")], ids=str
)
def test_a_gate_that_refuses_the_healthy_sound_is_deaf(enrolled: Callable[..., Product], gate: str, level: str) -> None:
    """The normals know how loud they were."""
    product = enrolled(extra=f"[machine.running]\ngate = {gate}")
    node = Node(load_settings(product.config), writes=False)
    assert node.running.verdict("pump").level == level
