"""Alarms are stored at once, whatever else the box is doing, on disks that are slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak import operations
from tests.soak.alarming import Disk, alarming, commits, told_from_memory, watched
from tests.soak.in_turn import TIDIES_S, Report, in_turn
from tests.soak.operations import Sizes

if TYPE_CHECKING:
    from pathlib import Path

ALONE_S = 6.0
MOST_WAL_MB = 64.0
FULL = Sizes.from_environment() != Sizes()
# Between two fsyncs of a second only so much gets done, while eight machines alarm: that takes five minutes, which
# `make soak` has, and sizes of its own.
DISKS = {Disk(mb_per_s=12.0): Sizes.from_environment()}
if FULL:
    DISKS[Disk(fsync_s=1.0)] = Sizes(imported=40, enrolled=40, forgotten=50, patience_s=300.0)


@pytest.mark.timeout(0 if FULL else 240)
@pytest.mark.parametrize("disk", DISKS, ids=str)
def test_an_alarm_waits_for_no_operation(alarming_state: Path, machine_turns: Path, tmp_path: Path, disk: Disk) -> None:
    """Each commit is within 100 ms and two bare fsyncs, none is told from memory, the log keeps its bound."""
    sizes = DISKS[disk]
    plant = alarming(tmp_path, alarming_state, machine_turns, disk=disk, tidies_after_s=TIDIES_S)
    operations.operation("retention", plant.product, sizes).prepare(0)
    report = Report(disk)
    with plant:
        plant.wait_for_alarms(2)
        with watched(plant) as seen:
            in_turn(plant, report, sizes, alone_s=ALONE_S)
        report.complete(seen, commits(plant), told_from_memory(plant))
        print(f"\n{report}")  # noqa: T201 - the figures are what the long form is run for
        assert not wrong_with(report)
        plant.check(seconds=60.0)
        plant.stop(seconds=20.0)  # as long as the service manager waits


def wrong_with(report: Report) -> list[str]:
    """Return everything that did not hold."""
    wrong = [f"{name}: {reason}" for name, reason in report.failed.items()]
    if report.from_memory:
        wrong.append(f"{len(report.from_memory)} alarms were told from memory")
    if report.seen.largest_wal_mb > MOST_WAL_MB:
        wrong.append(f"the log grew to {report.seen.largest_wal_mb:.1f} MB")
    late_s = [each.took_s for each in report.stored if each.took_s > report.limit_s]
    if late_s:
        of = f"{len(late_s)} of {len(report.stored)}"
        wrong.append(f"{of} commits took more than {report.limit_s:.3f} s, {max(late_s):.3f} s at the most")
    if not report.during("alone"):
        wrong.append("no alarm was stored even before the first operation")
    return wrong
