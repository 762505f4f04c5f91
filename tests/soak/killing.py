"""SIGKILL in the middle of what a box does while its machines alarm, again and again, and what must hold after each."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from typing import TYPE_CHECKING

from tests.broker import wait_until
from tests.soak import operations
from tests.soak.alarming import alarming
from tests.soak.operations import Sizes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.oracle import Plant
    from tests.soak.operations import Operation

KILLS = int(os.environ.get("EDGE_MONITOR_SOAK_KILLS", "3"))  # of each operation; 20 in the long form
SEED = int(os.environ.get("EDGE_MONITOR_SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
PATIENCE_S = 120.0 + 60.0 * KILLS  # for one operation with its kills, on a busy box
SIZES = Sizes(imported=600, enrolled=720, forgotten=5000, patience_s=120.0)
FIRST_GUESS_S = 2.0  # how long an operation takes, before it was seen
TIDIES_S = 1.0
STOPS_S = 30.0  # within which a command notices that the daemon is gone


def kill_in_the_middle(name: str, folder: Path, state: Path, turns: Path) -> None:
    """Kill a node KILLS times in an operation; after each nothing is lost, doubled or half done, and it is redone."""
    print(f"\nseed {SEED}")  # noqa: T201 - EDGE_MONITOR_SOAK_SEED repeats a run
    draw = random.Random(f"{SEED} {name}")  # noqa: S311 - when to kill is no secret
    plant = alarming(folder, state, turns, tidies_after_s=TIDIES_S)
    work = operations.operation(name, plant.product, SIZES)
    takes_s = FIRST_GUESS_S
    work.prepare(0)
    with plant:
        plant.wait_for_alarms(1)
        for kill in range(KILLS):
            before = promised(plant)
            after_s = draw.uniform(0.0, takes_s)
            interrupt(work, plant, after_s, too=draw.random() < 0.5)
            where = f"seed {SEED}, {name}, kill {kill} after {after_s:.2f} s"
            assert plant.product.intact(), where
            assert before <= promised(plant), where
            plant.start()
            assert not work.half_done(), where
            takes_s = repeat(work, where)
            assert not work.half_done(), where
            if kill + 1 < KILLS:
                renew(work, plant, kill + 1)
        plant.check(seconds=60.0)
        assert not doubled(plant)
        plant.stop()


def promised(plant: Plant) -> set[tuple[int, bytes]]:
    """Return what the node has promised so far."""
    return {(row.id, row.payload) for row in plant.committed()}


def interrupt(work: Operation, plant: Plant, after_s: float, *, too: bool) -> None:
    """Begin an operation and kill the daemon; `too`: its command as well, else it notices that the daemon is gone."""
    argv = work.argv()
    if not argv:
        time.sleep(after_s)
        plant.kill()
        return
    command = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    plant.kill()
    if too:
        command.kill()
    command.wait(STOPS_S)


def repeat(work: Operation, where: str) -> float:
    """Do an operation to its end, and return what it took, seconds."""
    began_s = time.monotonic()
    argv = work.argv()
    if argv:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=work.sizes.patience_s)
        assert done.returncode in work.good, f"{where}: {done.stderr}"
    else:
        wait_until(lambda: not work.undone(), work.sizes.patience_s, where)
    took_s = time.monotonic() - began_s
    assert not work.undone(), where
    return took_s


def renew(work: Operation, plant: Plant, number: int) -> None:
    """Give an operation something to do again; what needs the database to itself has the daemon stopped for it."""
    if work.alone:
        plant.stop()
    work.prepare(number)
    if work.alone:
        plant.start()


def doubled(plant: Plant) -> list[str]:
    """Return the messages that begin an alarm before the machine's last one has ended, or skip or repeat a number."""
    wrong: list[str] = []
    running: dict[str, tuple[str, int]] = {}  # by topic: the alarm that has begun, and its last number
    for row in plant.committed():
        if not row.topic.endswith("/alert"):
            continue
        alarm, last = running.get(row.topic, (row.alarm_id, -1))
        if (alarm, last + 1) != (row.alarm_id, row.seq):
            wrong.append(f"{row.topic}: {row.alarm_id} {row.seq} after {alarm} {last}")
        if json.loads(row.payload)["event"] == "end":
            running.pop(row.topic, None)
        else:
            running[row.topic] = row.alarm_id, row.seq
    return wrong
