"""SIGKILL at seeded moments of starting, running, alarming, explaining and enrolling: no promise is broken by any."""

from __future__ import annotations

import os
import random
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.broker import wait_until
from tests.service.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.oracle import Plant

    MakePlant = Callable[..., Plant]

POINTS = int(os.environ.get("EDGE_MONITOR_KILL_POINTS", "6"))  # 50 in the long form
LATEST_S = 4.0  # after the start; an alarm comes every 5 s of a running daemon


def promised(plant: Plant) -> set[tuple[int, bytes]]:
    """Return what the node has promised so far."""
    return {(row.id, row.payload) for row in plant.committed()}


@pytest.mark.timeout(60 + 30 * POINTS)
def test_killed_again_and_again(plant: MakePlant, tmp_path: Path) -> None:
    """After each kill the database is whole and every promise is still in it; at the end all of them have arrived."""
    draw = random.Random(5)  # noqa: S311 - when to kill is no secret
    clips = tmp_path / "clips"
    write_clips(clips, "more", pump(200, take=3))
    running = plant()
    running.wait_for_alarms(1, 60.0)
    for point in range(POINTS):
        before = promised(running)
        if point % 5 == 4:
            enrolment = subprocess.Popen(
                running.product.argv("enroll", str(clips)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(draw.uniform(0.0, LATEST_S))
            enrolment.kill()
            enrolment.wait(10)
        else:
            time.sleep(draw.uniform(0.0, LATEST_S))
        running.kill()
        assert running.product.intact(), f"point {point}"
        assert before <= promised(running), f"point {point}"
        running.start()
    assert running.daemon is not None
    process = running.daemon.process
    wait_until(lambda: process.poll() is None, 1.0, "a running daemon")
    running.check(seconds=60.0)
    running.stop()
