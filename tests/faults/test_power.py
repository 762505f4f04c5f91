"""Power cuts: whatever of the unsynced writes is lost, every alarm that anybody was told of is in a whole database."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_monitor.errors import StorageError
from edge_monitor.store import database
from tests.faults.oracle import Plant
from tests.faults.power import Disk, Record, read_log, told
from tests.faults.preload import preloaded

REPOSITORY = Path(__file__).parents[2]
CUTS = 60
PACE = 60.0  # a turn of the recording, with one alarm, takes less than 2 s
ALARMS = 3


def recorded(folder: Path, enrolled_state: Path, turns: Path, package: Path) -> tuple[Disk, list[Record]]:
    """Run the daemon of `package` through some alarms to a clean end; return the disk before, and what it did."""
    state = folder / "state"
    path = f"{package}:{REPOSITORY / 'tests/audit'}"
    chosen = {"PYTHONPATH": path, "PYTHONSAFEPATH": 1}  # not the package in the working directory
    plant = Plant(
        folder,
        enrolled_state,
        turns,
        source=f'{{ kind = "recording", path = "{turns}", pace = {PACE}, loop = true }}',
        prefix=preloaded("recorder.c", folder, RECORD_TO=folder / "record", RECORD_DIR=state, **chosen),
    )
    files = {path.name: (path.stat().st_ino, path.read_bytes()) for path in state.glob("edge-monitor.db*")}
    with plant:
        plant.wait_for_alarms(ALARMS, 90.0)
        plant.stop()
    return Disk(files), read_log(folder / "record")


def after_a_cut(folder: Path) -> set[tuple[str, int]]:
    """Open what a cut left, as the daemon would; return (alarm_id, seq) of all that is stored."""
    with closing(database.connect(folder / database.FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        rows = connection.execute("SELECT alarm_id, last_seq FROM alarms").fetchall()
    return {(alarm_id, seq) for alarm_id, last in rows for seq in range(last + 1)}


def lost_at_cuts(disk: Disk, records: list[Record], scratch: Path, seed: int) -> list[str]:
    """Cut the power at many points; return what was told before and is not there after, or how the database broke.

    Half of the points are right after somebody was told of an alarm.
    """
    draw = random.Random(seed)  # noqa: S311 - where to cut is no secret
    after_telling = [i for i in range(1, len(records)) if told(records[i - 1 : i])]
    chosen = draw.choices(after_telling, k=CUTS // 2) + draw.choices(range(1, len(records)), k=CUTS // 2)
    losses, done = [], 0
    for cut in sorted(chosen):
        for record in records[done:cut]:
            disk.take(record)
        done = cut
        promised = told(records[:cut])
        for share in (0.0, 0.5, 1.0):
            scratch.mkdir()
            disk.cut(scratch, draw, share)
            try:
                missing = promised - after_a_cut(scratch)
                losses += [f"record {cut}, {share:.0%} of the rest kept: {alarm} lost" for alarm in sorted(missing)]
            except (sqlite3.Error, StorageError, AssertionError) as error:
                losses.append(f"record {cut}, {share:.0%} of the rest kept: {error}")
            shutil.rmtree(scratch)
    return losses


def test_a_power_cut_loses_no_alarm_that_was_told(tmp_path: Path, enrolled_state: Path, turns: Path) -> None:
    """Cut at 60 points, with any subset of what was not synced: the database is whole, and what was told is in it."""
    disk, records = recorded(tmp_path, enrolled_state, turns, REPOSITORY)
    assert len(told(records)) >= ALARMS
    assert sum(record.kind == "S" for record in records) >= ALARMS
    assert lost_at_cuts(disk, records, tmp_path / "scratch", seed=1) == []


def test_the_power_cuts_would_notice_lazy_commits(tmp_path: Path, enrolled_state: Path, turns: Path) -> None:
    """The same package with `synchronous=NORMAL` loses alarms that were told: the test above bites."""
    package = tmp_path / "package"
    shutil.copytree(REPOSITORY / "edge_monitor", package / "edge_monitor", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "models", package / "models")
    source = package / "edge_monitor/store/writer.py"
    eager, when = source.read_text(), "'FULL' if durable else 'NORMAL'"
    assert eager.count(when) == 1
    source.write_text(eager.replace(when, "'NORMAL'"))
    disk, records = recorded(tmp_path, enrolled_state, turns, package)
    assert [loss for loss in lost_at_cuts(disk, records, tmp_path / "scratch", seed=1) if loss.endswith("lost")]


def test_what_a_power_cut_may_leave(tmp_path: Path) -> None:
    """The model of the disk: synced writes stay, the others any subset of them, names up to where the cut came."""
    disk = Disk({"edge-monitor.db": (1, b"old-")})
    for kind, offset, data in (("W", 0, b"new-"), ("F", 0, b""), ("W", 4, b"more"), ("S", 0, b""), ("T", 2, b"")):
        disk.take(Record(kind, 1, offset, data, "edge-monitor.db"))
    left = set()
    for seed in range(100):
        disk.cut(tmp_path, random.Random(seed), 0.5)  # noqa: S311 - as above
        left.add((tmp_path / "edge-monitor.db").read_bytes())
    assert left == {b"new-", b"new-more", b"ne"}


@pytest.mark.parametrize("synced", [False, True])
def test_a_renamed_file_is_there_once_its_folder_is_synced(tmp_path: Path, synced: bool) -> None:
    """A rename may be undone by a cut until the folder has been synced."""
    disk = Disk({"edge-monitor.db": (1, b"old")})
    disk.take(Record("C", 2, 0, b"", "edge-monitor.db.rebuilt"))
    disk.take(Record("R", 2, 0, b"edge-monitor.db", "edge-monitor.db.rebuilt"))
    if synced:
        disk.take(Record("F", 3, 0, b"", "."))
        disk.take(Record("S", 3, 0, b"", "."))
    names = set()
    for seed in range(50):
        disk.cut(tmp_path, random.Random(seed), 0.0)  # noqa: S311 - as above
        names.add((tmp_path / "edge-monitor.db").read_bytes())
    assert names == ({b""} if synced else {b"", b"old"})
