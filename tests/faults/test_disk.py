"""Disks that are full, read-only, failing or slow: telemetry is given up first, an alarm is told all the same."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.config.file import load_settings
from edge_monitor.doctor.finding import carefully
from edge_monitor.doctor.machine import look_at_normals_of
from edge_monitor.doctor.running import judge_status
from edge_monitor.doctor.storage import look_at_database, look_at_disk
from edge_monitor.errors import StorageError
from edge_monitor.memory.cache import IndexFile
from edge_monitor.memory.index import HnswIndex
from edge_monitor.node.kept_audio import KeptAudio
from edge_monitor.node.status import NodeStatus
from edge_monitor.store.database import FILE_NAME
from edge_monitor.store.jobs import Priority
from edge_monitor.store.state_dir import StateDir
from edge_monitor.store.store import Store
from tests.broker import wait_until
from tests.faults.oracle import Plant
from tests.faults.preload import preloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_monitor.doctor.finding import Finding

    MakePlant = Callable[..., Plant]


def mount(folder: Path, *options: str) -> None:
    """Mount an empty disk in memory."""
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a state directory on a disk of 8 MiB, its runtime folder on another one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "state"
    folder.mkdir()
    mount(folder, "-o", "size=8m")
    (folder / "run").mkdir()
    mount(folder / "run")
    yield folder
    subprocess.run(["umount", "-l", str(folder / "run")], check=True)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to the last byte; return the file that does it."""
    filler = folder / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], check=False, capture_output=True)
    return filler


def told_from_memory(plant: Plant) -> list[str]:
    """Return the alarms that were told and not stored at that moment."""
    alerts = [json.loads(message.payload) for message in plant.delivered() if message.topic.endswith("/alert")]
    return [alert["alarm_id"] for alert in alerts if alert["persisted"] == 0 and alert["event"] == "start"]


def stored(plant: Plant, alarm_id: str) -> bool:
    """Return whether an alarm is in the database."""
    return (alarm_id,) in plant.product.rows("SELECT alarm_id FROM alarms")


def told_by_doctor(plant: Plant) -> list[Finding]:
    """Return what doctor finds of disk, database, normals and the running daemon."""
    settings = load_settings(plant.product.config)
    state_dir = StateDir.of(settings.node)
    status = NodeStatus.model_validate(plant.product.status())
    return [
        *carefully("disk", look_at_disk(settings, state_dir)),
        *carefully("database", look_at_database(state_dir)),
        *carefully("normals", look_at_normals_of(settings.machine[0], state_dir.database, None)),
        *carefully("daemon", judge_status(status, window_s=10.0)),
    ]


def test_a_start_on_a_full_disk(small_disk: Path, enrolled_state: Path, turns: Path, tmp_path: Path) -> None:
    """Nothing can be written from the start: the alarm is told from memory, stored when it can be; doctor says it."""
    plant = Plant(tmp_path, enrolled_state, turns)
    (small_disk / "reserve").unlink(missing_ok=True)  # else the first alarms have that room
    filler = fill(small_disk)
    with plant:
        wait_until(lambda: told_from_memory(plant), 60.0, "an alert from memory")
        plant.wait_for_state("storage-fault")
        assert " more wait in memory: the disk does not take them" in plant.product.command("alarms list").stderr
        told = told_by_doctor(plant)
        assert [(found.check, found.result) for found in told] == [
            ("disk", "fail"),
            ("database", "ok"),
            ("normals", "ok"),
            ("daemon", "ok"),
            ("scoring", "fail"),
        ]
        assert told[0].text.endswith("nothing can be written: No space left on device; 0 MB free of 8 MB")
        assert told[-1].hint == "see the findings on disk and database"
        filler.unlink()
        wait_until(lambda: stored(plant, told_from_memory(plant)[0]), 30.0, "the alarm on disk")
        plant.check()
        plant.stop()


def test_a_start_on_a_read_only_disk(small_disk: Path, enrolled_state: Path, turns: Path, tmp_path: Path) -> None:
    """The kernel has gone read-only: the daemon starts, scores and tells; when the disk is writable again it stores."""
    plant = Plant(tmp_path, enrolled_state, turns)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with plant:
        wait_until(lambda: told_from_memory(plant), 60.0, "an alert from memory")
        plant.wait_for_state("storage-fault")
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        wait_until(lambda: stored(plant, told_from_memory(plant)[0]), 30.0, "the alarm on disk")
        plant.check()
        plant.stop()


@pytest.mark.parametrize("how", ["E", "R"])
def test_a_disk_that_begins_to_fail(plant: MakePlant, tmp_path: Path, how: str) -> None:
    """A failing fsync (E), or a disk gone read-only (R): alerts come from memory, then all is stored."""
    switch = tmp_path / "how"
    running = plant(prefix=preloaded("failing_disk.c", tmp_path, FAIL_DIR=tmp_path / "state", FAIL_HOW=switch))
    running.wait_for_alarms(1, 60.0)
    switch.write_text(how)
    wait_until(lambda: told_from_memory(running), 60.0, "an alert from memory")
    running.wait_for_state("storage-fault")
    switch.unlink()
    wait_until(lambda: stored(running, told_from_memory(running)[0]), 30.0, "the alarm on disk")
    running.check()
    running.stop()


def test_a_slow_disk_drops_no_sound_and_holds_no_alarm_back_for_long(plant: MakePlant, tmp_path: Path) -> None:
    """Each fsync takes 15 s: after 10 s the alert goes out from memory; it is stored once the disk has answered."""
    switch = tmp_path / "how"
    running = plant(prefix=preloaded("failing_disk.c", tmp_path, FAIL_DIR=tmp_path / "state", FAIL_HOW=switch))
    running.wait_for_alarms(1, 60.0)
    switch.write_text("S15")
    wait_until(lambda: told_from_memory(running), 60.0, "an alert from memory")
    switch.unlink()
    wait_until(lambda: stored(running, told_from_memory(running)[0]), 60.0, "the alarm on disk")
    running.check(seconds=60.0)
    running.stop()


def test_a_limit_on_file_size(plant: MakePlant) -> None:
    """RLIMIT_FSIZE stops a commit half-way: the alarm is told from memory, and stored without the limit."""
    running = plant(prefix=("prlimit", "--fsize=32768:unlimited"))
    assert running.daemon is not None
    wait_until(lambda: told_from_memory(running), 60.0, "an alert from memory")
    subprocess.run(["prlimit", f"--pid={running.daemon.process.pid}", "--fsize=unlimited"], check=True)
    wait_until(lambda: stored(running, told_from_memory(running)[0]), 30.0, "the alarm on disk")
    running.check()
    running.stop()


def test_the_reserve_is_for_alarms(small_disk: Path, enrolled_state: Path) -> None:
    """On a full disk telemetry is refused and an alarm takes the reserve; with room there is a reserve again."""
    shutil.copy(enrolled_state / FILE_NAME, small_disk)
    storage = Store(small_disk / FILE_NAME).open()
    reserve = small_disk / "reserve"
    assert reserve.stat().st_size == 2_000_000
    filler = fill(small_disk)

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO outbox (topic, payload, alarm_id, seq, created_ms) VALUES ('t', ?, 'a', 0, 0)",
            (bytes(200_000),),
        )

    with pytest.raises(sqlite3.OperationalError, match="full"):
        storage.submit(write).result()
    assert reserve.exists()
    storage.submit(write, Priority.ALARM).result()
    assert not reserve.exists()
    filler.unlink()
    storage.writer._reserved_s -= 60.0  # a minute later
    storage.submit(lambda _: None).result()
    assert reserve.stat().st_size == 2_000_000
    storage.close()


def test_a_full_disk_keeps_no_half_written_index(small_disk: Path) -> None:
    """An index that does not fit is not stored, and takes no room."""
    vectors = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    index = HnswIndex.build(vectors, 4)
    assert index is not None
    fill(small_disk)
    with pytest.raises(OSError, match=r"."):
        IndexFile(small_disk / "index", "pump", 1).save(index, vectors)
    assert list((small_disk / "index").iterdir()) == []


def test_kept_sound_has_a_cap(tmp_path: Path) -> None:
    """retention.audio_max_mb bounds the sound of all machines; what would exceed it is refused, what is kept stays."""
    KeptAudio(tmp_path / "audio/fan", 0, 1000).write("0" * 64, [bytes(600)])
    kept = KeptAudio(tmp_path / "audio/pump", 0, 1000)
    with pytest.raises(StorageError, match=r"retention\.audio_max_mb"):
        kept.write("1" * 64, [bytes(401)])
    kept.write("1" * 64, [bytes(400)])
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.flac")) == 1000


def test_a_read_only_directory_can_still_be_locked(small_disk: Path) -> None:
    """Two daemons never run on one state directory, not even where no lock file can be made."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    state = StateDir(small_disk, small_disk / "run")
    with state.lock(), pytest.raises(StorageError, match="another edge-monitor"), state.lock():
        pass
