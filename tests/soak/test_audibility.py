"""A printed level is true: 3 dB above it faults alarm, 3 dB below they do not. `make soak` is the long form."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.audibility import Ear

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.audibility import Learnt
    from edge_monitor.records import Samples

LONG = os.environ.get("EDGE_MONITOR_SOAK_SIZES") == "full"
MACHINES = 12 if LONG else 1
MINUTES = 10  # of sound learnt
SEEDS = 20  # stretches of 5 windows
THREE_HOURS = 1080  # disjoint windows of 10 s
WINDOWS = THREE_HOURS if LONG else 5 * SEEDS


@pytest.fixture(scope="module", name="ear")
def ear_fixture() -> Ear:
    """Return what learns and hears."""
    return Ear()


@pytest.mark.timeout(0 if LONG else 600)  # on a busy box
def test_levels_of_simulated_machines_are_true(ear: Ear) -> None:
    """In a take that was not learnt, each fault by 3 of 5, and two faults (all, in the long form) within three hours.

    Three hours have one outcome: 80 % of their windows lie above the low line or not.
    """
    for name, learnt, healthy in ear.simulated(MACHINES, MINUTES, WINDOWS):
        for number, level in enumerate(learnt.audibility.faults):
            if level.minute_db is not None:
                above, below = (
                    ear.alarms(learnt, healthy[: 5 * SEEDS], level.fault, level.minute_db + more)[0] for more in (3, -3)
                )
                assert above >= 0.9, f"{name}: {level}"
                assert below <= 0.2, f"{name}: {level}"
            if level.three_hours_db is not None and (LONG or number < 2):
                above, below = (
                    ear.alarms(learnt, healthy, level.fault, level.three_hours_db + more)[1] for more in (3, -3)
                )
                assert above >= 0.8, f"{name}: {level}"
                assert below < 0.8, f"{name}: {level}"


@pytest.mark.recordings
@pytest.mark.timeout(0 if LONG else 600)
def test_levels_of_recorded_machines_are_true(ear: Ear, recordings: Path) -> None:
    """In clips that were not learnt, faults by 3 of 5: over the seeds of all ids and faults together.

    Six to eleven clips were learnt of each: one id's healthy sound says little of that id's other clips.
    """
    shares = [
        share
        for number, (_, learnt, healthy) in enumerate(ear.recorded(recordings, 5 * SEEDS))
        if LONG or number == 0
        for share in by_three_of_five(ear, learnt, healthy)
    ]
    above, below = np.mean(shares, axis=0)
    assert above >= 0.9
    assert below <= 0.2


def by_three_of_five(ear: Ear, learnt: Learnt, healthy: Sequence[Samples]) -> list[tuple[float, float]]:
    """Return the share of seeds that alarm 3 dB above and below each fault's level."""
    levels = [(each.fault, each.minute_db) for each in learnt.audibility.faults if each.minute_db is not None]
    return [
        (ear.alarms(learnt, healthy, fault, at_db + 3)[0], ear.alarms(learnt, healthy, fault, at_db - 3)[0])
        for fault, at_db in levels
    ]
