"""What the plant says of its machines reaches them, and is not believed once it cannot be heard."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_monitor.capture.gate import Running, RunningGate, parse_run_signal
from edge_monitor.config.machine import MachineSettings
from edge_monitor.records import AudioBlock, Window
from edge_monitor.runtime.run_signals import RunSignals
from tests.runtime.parts import PUMP

RATE_HZ = 400
SETTLE_S = 10
DOUBTED_S = 60  # within which a topic that contradicts the level is told of
NEVER_SCORED_S = 200  # within which a machine that is as loud as ever is scored, or it is told why not
# What a plant publishes again and again, whether it is retained, how loud the machine then is, and how long, seconds.
LOST = None  # the connection
WORDS = st.sampled_from([b"0", b"1", b"false", b"running", b"", b"BAD", b"nan", b"-1e999", LOST])
ANYTHING = WORDS | st.binary(max_size=6)
LOUD = st.sampled_from([True, True, True, False])
SECONDS = st.integers(1, 9) | st.integers(1, 50)
STEPS = st.lists(st.tuples(ANYTHING, st.booleans(), LOUD, SECONDS), min_size=1, max_size=4)


def test_machines_that_share_a_topic_hear_it_by_their_own_limits_until_the_connection_is_lost() -> None:
    """A speed of 500 means running for one and standing for the other; after an unclear payload the level decides."""
    slow, fast = (
        MachineSettings.model_validate(
            {
                "name": f"above-{limit:.0f}",
                "source": {"kind": "simulator"},
                "running": {"topic": "plant/speed", "running_above": limit},
            }
        )
        for limit in (100.0, 1000.0)
    )
    said: list[tuple[str, bool | None]] = []
    signals = RunSignals((slow, PUMP, fast), lambda machine, running: said.append((machine, running)))
    [(topic, take)] = signals.subscriptions().items()
    take(b"500", False)
    take(b"full speed ahead", False)
    assert said[2:] == [("above-100", None), ("above-1000", None)]
    del said[2:]
    signals.lost()
    assert topic == "plant/speed"
    assert said == [("above-100", True), ("above-1000", False), ("above-100", None), ("above-1000", None)]


def test_without_a_gate_the_last_word_stands() -> None:
    """An unclear payload would have a standing machine scored: there is no level to decide."""
    machine = MachineSettings.model_validate(
        {"name": "pump", "source": {"kind": "simulator"}, "running": {"topic": "plant/run", "gate": "off"}}
    )
    said: list[tuple[str, bool | None]] = []
    signals = RunSignals((machine,), lambda name, running: said.append((name, running)))
    [take] = signals.subscriptions().values()
    take(b"0", False)
    take(b"BAD", False)
    take(b"", False)
    assert said == [("pump", False)]


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, max_age_s=st.sampled_from([None, 20]))
@example(steps=[(b"0", False, True, 40), (LOST, False, True, 9)], max_age_s=None)
def test_whatever_the_topic_says_a_loud_machine_is_scored_or_it_is_told_why_not(
    steps: list[tuple[bytes | None, bool, bool, int]], max_age_s: int | None
) -> None:
    """What is unclear, old or lost leaves it to the level; a contradiction is told, and settling ends."""
    machine = MachineSettings.model_validate(
        {"name": "pump", "source": {"kind": "simulator"}, "running": {"topic": "plant/run"}}
    )
    gate = RunningGate(-50.0, SETTLE_S, max_age_s=max_age_s)
    signals = RunSignals((machine,), lambda _, running: gate.tell(running))
    [take] = signals.subscriptions().values()
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    at_s = on_s = against_s = unscored_s = 0
    again = 1 + 400 // sum(seconds for *_, seconds in steps)
    for payload, retained, loud, seconds in steps * again:
        signals.lost() if payload is LOST else take(payload, retained)
        word = None if payload is LOST else parse_run_signal(payload, 0.5)
        sound = noise * np.float32(1e-2 if loud else 1e-3)
        for since_s in range(seconds):
            told = word if max_age_s is None or since_s <= max_age_s else None
            on = loud if told is None else told
            gate.hear(AudioBlock("pump", sound, RATE_HZ, float(at_s)))
            judged = gate.judge(Window("pump", sound, RATE_HZ, float(at_s), at_s + 1.0))
            at_s += 1
            doubt = None if judged is Running.RUNNING else gate.doubt(float(at_s))
            on_s = on_s + 1 if on else 0
            against_s = against_s + 1 if loud and told is False else 0
            unscored_s = unscored_s + 1 if loud and judged is not Running.RUNNING and not doubt else 0
            assert gate.told is told
            assert (judged is Running.NOT_RUNNING) is not on
            assert judged is Running.RUNNING or on_s <= SETTLE_S + 1
            assert doubt or against_s < DOUBTED_S
            assert unscored_s < NEVER_SCORED_S
