"""The deaf drill at random: see tests/soak/deaf_at_random.py. `make soak` is the long form."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.ear import listening, make_state
from tests.sharing import made_once
from tests.soak.deaf_at_random import MACHINES, deafen_at_random

if TYPE_CHECKING:
    from pathlib import Path

MINUTES = float(os.environ.get("EDGE_MONITOR_SOAK_DEAF_MIN", "0.2"))  # of rounds, each of half a minute or a minute
SEED = int(os.environ.get("EDGE_MONITOR_SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
LONG_MIN = 10.0  # from which on growth of memory means something
GROWTH_MB = 8.0  # as of tests/soak/test_soak.py


@pytest.mark.timeout(300 if MINUTES < LONG_MIN else 0)
def test_deafened_at_random_no_machine_is_called_normal_and_no_alert_is_lost(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is done to the node: told in time, heard again, every promise kept, memory flat."""
    print(f"\nseed {SEED}")  # noqa: T201 - EDGE_MONITOR_SOAK_SEED repeats a run
    made = made_once(tmp_path_factory, "short-windows", make_state)
    with listening(tmp_path, made, MACHINES) as ear:
        ear.begin()
        report = deafen_at_random(ear, SEED, MINUTES * 60, slow=MINUTES >= LONG_MIN)
        print(report)  # noqa: T201 - the figures are what the long form is run for
        assert report.violations == []
        promised = ear.plant.committed()
        ear.plant.check_delivery(promised)
        ear.plant.check_state_dir(promised)
    if MINUTES >= LONG_MIN:
        assert report.rss_growth_mb < GROWTH_MB
