"""The deaf drill on one machine: see tests/faults/drill.py; on the whole node: test_drill_node.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.drill import WAYS, Way, hold
from tests.faults.ear import MACHINE, RATTLING

if TYPE_CHECKING:
    from tests.faults.ear import Ear


@pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in WAYS if not way.node])
def test_the_deaf_drill(way: Way, drilled: Ear) -> None:
    """State, text and doctor's exit code are told in time; the machine is `normal` when it is mended."""
    hold(way, drilled)


def test_a_machine_that_fails_after_all_of_it_is_heard(drilled: Ear) -> None:
    """An alarm is told within 30 s, everything that was promised meanwhile has arrived, the database is whole."""
    drilled.hear(MACHINE, sound=RATTLING)
    drilled.plant.check(audio_fault=True)
