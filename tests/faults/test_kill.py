"""SIGKILL at seeded moments of starting, running, alarming, explaining, enrolling, backing up and restoring."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor.store.database import FILE_NAME
from tests.broker import wait_until
from tests.faults.ledger import keep_ledger_anew
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.oracle import Plant

    MakePlant = Callable[..., Plant]

BACKUP, RESTORE, ENROL = 2, 3, 4  # of five points
POINTS = int(os.environ.get("EDGE_MONITOR_KILL_POINTS", "6"))  # 50 in the long form
LATEST_S = 4.0  # after the start; an alarm comes every 5 s of a running daemon
HALF = "SELECT count(*) FROM recordings WHERE id NOT IN (SELECT recording_id FROM normals)"
ACTIVE_ROWS = "SELECT count(*) FROM alarms WHERE ended_ms IS NULL"
ACTIVE = "SELECT count(*) FROM generations WHERE active = 1"


def promised(plant: Plant) -> set[tuple[int, bytes]]:
    """Return what the node has promised so far."""
    return {(row.id, row.payload) for row in plant.committed()}


@pytest.mark.timeout(60 + 30 * POINTS)
def test_killed_again_and_again(plant: MakePlant, tmp_path: Path) -> None:
    """After each kill the database is whole and every promise is still in it; at the end all of them have arrived.

    At three of five points a command works on the node: a backup, a restore (of a node that was killed before), an
    enrolment. What it writes is there whole or not at all.
    """
    draw = random.Random(5)  # noqa: S311 - when to kill is no secret
    clips, first, later = tmp_path / "clips", tmp_path / "first.backup", tmp_path / "later.backup"
    write_clips(clips, "more", pump(200, take=3))
    running = plant()
    running.wait_for_alarms(1, 60.0)
    make_first(running, first)
    beside = {
        BACKUP: ("backup", str(later)),
        RESTORE: ("restore", str(first), "--force"),
        ENROL: ("enroll", str(clips)),
    }
    for point in range(POINTS):
        if point % 5 == RESTORE:
            running.kill()  # a restore works on a stopped node only
        known = running.committed()
        before = {(row.id, row.payload) for row in known}
        later.unlink(missing_ok=True)
        if work := beside.get(point % 5):
            command = subprocess.Popen(
                running.product.argv(*work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(draw.uniform(0.0, LATEST_S))
            if draw.random() < 0.5:  # else it notices by itself that the daemon is gone
                command.kill()
            running.kill()
            command.wait(30)
            if not ledgered(running):
                keep_ledger_anew(running.product.state, known)
                before = {(row.id, row.payload) for row in running.committed()}
                assert {row.payload for row in known} <= {payload for _, payload in before}, f"point {point}"
        else:
            time.sleep(draw.uniform(0.0, LATEST_S))
            running.kill()
        assert running.product.intact(), f"point {point}"
        assert before <= promised(running), f"point {point}"
        assert running.product.rows(HALF) == [(0,)], f"point {point}"
        assert running.product.rows(ACTIVE) == [(1,)], f"point {point}"
        assert not later.exists() or usable(running, later), f"point {point}"
        running.start()
    assert running.daemon is not None
    process = running.daemon.process
    wait_until(lambda: process.poll() is None, 1.0, "a running daemon")
    running.check(seconds=60.0)
    running.stop()


# Each turn begins an episode with its fourth faulty window, makes it an alarm with the fifth, and clears it.
EPISODES = """[machine.alarm]
raise = [5, 5]
changed_after_s = 50
alarm_after_s = 100
off_delay_s = 0
"""


@pytest.mark.timeout(60 + 30 * POINTS)
def test_killed_again_and_again_in_every_condition(plant: MakePlant) -> None:
    """As usual, changed or in alarm: what was told of it is stored, and what is stored is told, in order."""
    draw = random.Random(6)  # noqa: S311 - when to kill is no secret
    running = plant(extra=EPISODES)
    running.wait_for_alarms(1, 60.0)
    for point in range(POINTS):
        before = promised(running)
        time.sleep(draw.uniform(0.0, LATEST_S))
        running.kill()
        assert running.product.intact(), f"point {point}"
        assert before <= promised(running), f"point {point}"
        assert running.product.rows(ACTIVE_ROWS)[0][0] <= 1, f"point {point}"
        running.start()
    running.check(seconds=60.0)
    kinds = {row.topic.rpartition("/")[2] for row in running.committed()}
    assert kinds == {"alert", "condition", "explanation"}
    running.stop()


def make_first(plant: Plant, file: Path) -> None:
    """Back the node up as the product made it: the tests' ledger in its database would be refused by a restore."""
    known = plant.committed()
    plant.kill()
    with closing(sqlite3.connect(plant.product.state / FILE_NAME)) as connection:
        connection.executescript("DROP TRIGGER keep_ledger; DROP TABLE ledger;")
    plant.product.answer("backup", str(file))
    keep_ledger_anew(plant.product.state, known)
    plant.start()


def ledgered(plant: Plant) -> bool:
    """Return whether the database is still the one with the tests' ledger, and no restored one."""
    return plant.product.rows("SELECT count(*) FROM sqlite_schema WHERE name = 'ledger'") == [(1,)]


def usable(plant: Plant, file: Path) -> bool:
    """Return whether a backup is whole; but for the tests' ledger in it, it could be restored."""
    refused = plant.product.command("restore", str(file), "--force", "--dry-run").stderr
    return "ledger" in refused and "does not belong into it" in refused
