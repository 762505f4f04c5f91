"""How faint a fault is heard, as it is kept and as it is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.capture.simulator_faults import ADDED_FAULTS
from edge_monitor.errors import NormalsError
from edge_monitor.memory.audibility import HIGHEST_DB, LOWEST_DB, NAMES, Audibility, FaultLevel
from edge_monitor.memory.calibration import Calibration
from tests.node.test_verdict import CALIBRATION

BAND = (2962.0, 4936.0)
LEVELS = st.none() | st.integers(LOWEST_DB, HIGHEST_DB)


def heard(*levels: tuple[int | None, int | None], minute_s: float = 50.0, no_flow: bool = False) -> Audibility:
    """Return levels of the faults in their order, by m of n and within three hours."""
    faults = tuple(FaultLevel(kind, BAND, *each) for kind, each in zip(ADDED_FAULTS, levels, strict=False))
    return Audibility(faults, no_flow, windows=20, minute_s=minute_s, low_line=True)


def test_the_sentence_says_from_which_level_and_within_what_time() -> None:
    """The first fault in full, the others by their two numbers; what is never heard is said as well."""
    assert heard((4, -3)).sentence() == (
        "A bearing fault is heard from 4 dB over the machine's own level in its band within a minute, from 3 dB under"
        " it within three hours; loss of flow is not heard."
    )
    assert heard(
        (None, None), (12, None), (0, -1), (None, 5), (None, None), minute_s=100.0, no_flow=True
    ).sentence() == (
        "A bearing fault is not heard; cavitation is heard from 12 dB over the machine's own level in its band within"
        " 2 minutes; belt squeal from +0 and -1 dB; rattle from +5 dB within three hours; imbalance is not heard; loss"
        " of flow is heard."
    )


def test_each_fault_that_is_mixed_in_has_a_name_for_people() -> None:
    """A new one of the simulator needs one."""
    assert set(NAMES) == set(ADDED_FAULTS)


def test_half_of_the_faults_are_heard_from_the_middle_level() -> None:
    """What is not heard counts as louder than all; the sooner of two rules counts."""
    assert heard((4, -3), (9, None), (None, None), (None, 1), (20, 15)).half_db == 9
    assert heard((4, -3), (9, None), (None, None), (None, None), (None, None)).half_db is None


@given(st.lists(st.tuples(LEVELS, LEVELS), min_size=5, max_size=5), st.booleans())
def test_it_is_kept_with_the_calibration(levels: list[tuple[int | None, int | None]], no_flow: bool) -> None:
    """What was measured comes back from the database as it was, and is always said in one line."""
    found = heard(*levels, no_flow=no_flow)
    assert Calibration.from_json(replace(CALIBRATION, audibility=found).to_json()).audibility == found
    assert "\n" not in found.sentence()


@pytest.mark.parametrize(
    "damage", [{"faults": []}, {"faults": [{"fault": "bearing"}]}, {"minute_s": float("nan")}, {"more": 1}]
)
def test_a_damaged_one_is_refused(damage: dict[str, object]) -> None:
    """One line says that the calibration cannot be read."""
    fields = json.loads(replace(CALIBRATION, audibility=heard((4, -3))).to_json())
    fields["audibility"] |= damage
    with pytest.raises(NormalsError, match="a stored calibration cannot be read"):
        Calibration.from_json(json.dumps(fields))


def test_a_level_that_was_never_tried_is_refused() -> None:
    """No number of decibels beyond the range comes from a measurement."""
    fields = json.loads(replace(CALIBRATION, audibility=heard((4, -3))).to_json())
    fields["audibility"]["faults"][0]["minute_db"] = 99
    with pytest.raises(NormalsError, match="a level of 99 dB was not tried"):
        Calibration.from_json(json.dumps(fields))
