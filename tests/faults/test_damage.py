"""Damaged files: what can be read is saved, what is lost is said, the damaged file is kept, and the node goes on."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import structlog

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.errors import StorageError
from edge_monitor.store import counters, database
from edge_monitor.store.store import Store
from tests.broker import wait_until
from tests.faults.ledger import keep_ledger_anew
from tests.faults.oracle import BASE, Plant
from tests.product import Product
from tests.store.damage import PAGE, rows, spoil, written_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAILING = '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 60, pace = 20 }'


def test_nobody_waits_for_a_database_that_was_closed(tmp_path: Path) -> None:
    """What is written after the end fails at once: an old daemon's thread would hang for ever after a reload."""
    storage = Store(tmp_path / database.FILE_NAME).open()
    storage.close()
    with pytest.raises(StorageError, match="is closed"):
        storage.submit(lambda _: None).result(1.0)


@pytest.mark.parametrize("damage", [b"", b"\0" * 9000, b"no database at all" * 500])
def test_a_file_that_is_no_database_is_kept_and_replaced(tmp_path: Path, damage: bytes) -> None:
    """Nothing can be saved; the storage thread begins with an empty database and says so."""
    path = tmp_path / database.FILE_NAME
    path.write_bytes(damage)
    storage = Store(path).open()
    assert (
        storage.submit(lambda connection: connection.execute("SELECT count(*) FROM alarms").fetchone()[0]).result() == 0
    )
    fault = storage.writer.fault
    storage.close()
    kept = [each.read_bytes() for each in tmp_path.glob("*.damaged-*")]
    assert kept == ([damage] if damage else [])
    assert ("rebuilt" in fault) == bool(damage)


def test_damage_that_shows_while_running_is_repaired(stored: Path) -> None:
    """A write that meets damage fails once; the next one finds a rebuilt database."""
    storage = Store(stored).open()
    at = stored.read_bytes().index(bytes([20]) * 1000) // PAGE * PAGE
    spoil(stored, at, PAGE)
    with closing(database.connect(stored)) as other:  # makes the thread's connection read anew
        counters.add_to_counter(other, "c", 1)
    reading = storage.submit(
        lambda connection: connection.execute("SELECT sum(length(payload)) FROM outbox").fetchall()
    )
    with pytest.raises(sqlite3.OperationalError, match="has been rebuilt"):
        reading.result()
    assert storage.submit(lambda connection: connection.execute("PRAGMA quick_check").fetchone()[0]).result() == "ok"
    assert storage.writer.openings == 2
    storage.close()


def test_a_crash_between_rebuilding_and_renaming_is_made_up_for(stored: Path) -> None:
    """A rebuilt database that was not put in place is put there at the next start, without the old one's log."""
    with closing(database.connect(stored)):
        shutil.copy(stored, stored.with_name(f"{stored.name}.rebuilt"))
        stored.with_name(f"{stored.name}-wal").write_bytes(b"the damaged one's log")
    spoil(stored, 0, PAGE)
    storage = Store(stored).open()
    assert (
        storage.submit(lambda connection: connection.execute("SELECT count(*) FROM outbox").fetchone()[0]).result()
        == 40
    )
    storage.close()
    assert len(list(stored.parent.glob("*.damaged-*"))) >= 1


def test_a_damaged_log_is_told_and_kept(stored: Path) -> None:
    """Commits behind a damaged frame are lost: their number is said, and the log is kept for whoever wants to look."""
    content = written_log(stored, 5)
    log = stored.with_name(f"{stored.name}-wal")
    frames = (len(content) - 32) // (24 + PAGE)
    spoil(log, 32 + (frames - 2) * (24 + PAGE) + 100, 50)
    with structlog.testing.capture_logs() as logs:
        storage = Store(stored).open()
    fault = storage.writer.fault
    storage.close()
    assert [(event["event"], event["pages"]) for event in logs if event["event"] == "storage.log_damaged"] == [
        ("storage.log_damaged", 2)
    ]
    assert "2 pages are lost" in fault
    assert len(list(stored.parent.glob("*-wal.damaged-*"))) == 1
    assert rows(stored, "SELECT count(*) FROM counters WHERE name LIKE 'c%'") == [(3,)]


def test_a_damaged_database_is_told_to_the_plant_and_the_pump_is_heard(
    tmp_path: Path, enrolled_state: Path, turns: Path
) -> None:
    """The daemon starts on a database with a spoilt header: MQTT has storage-fault, normal, then the alarm."""
    late = FAILING.replace("fault_at_s = 60", "fault_at_s = 300")  # the fault of the disk is told for 5 s before
    plant = Plant(tmp_path, enrolled_state, turns, source=late)
    spoil(plant.product.state / database.FILE_NAME, 0, 100)
    with plant:
        keep_ledger_anew(plant.product.state, [])
        plant.check(seconds=60.0)
        states = [message.payload for message in plant.scada.on(f"{BASE}/pump/state")]
        assert b'"state":"storage-fault"' in states[0]
        assert b"rebuilt" in states[0]
        assert any(b'"state":"normal"' in state for state in states)
        plant.stop()
        assert told(plant, "storage.rebuilt")[0]["lost_some_of"] == []


def in_the_middle(plant: Plant) -> None:
    """Spoil the page of the counters, which every alarm's commit needs."""
    [(page,)] = plant.product.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'counters'")
    spoil(plant.product.state / database.FILE_NAME, (page - 1) * PAGE, PAGE)


def while_running(plant: Plant) -> None:
    """Spoil that page under a daemon that has read it."""
    with closing(database.connect(plant.product.state / database.FILE_NAME)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        in_the_middle(plant)
        connection.execute("DELETE FROM ledger")  # makes the daemon's connections read anew
    wait_until(lambda: told(plant, "storage.rebuilt"), 30.0, "the database rebuilt")


def at_the_start(plant: Plant) -> None:
    """Spoil it while nobody uses it."""
    plant.stop()
    in_the_middle(plant)
    plant.start()


def in_the_log(plant: Plant) -> None:
    """Spoil the end of what a killed daemon has left in the write-ahead log."""
    plant.kill()
    log = plant.product.state / f"{database.FILE_NAME}-wal"
    spoil(log, log.stat().st_size - 3 * (24 + PAGE) + 100, 50)
    plant.start()


@pytest.mark.parametrize(
    ("damage", "event"),
    [(while_running, "storage.rebuilt"), (at_the_start, "storage.rebuilt"), (in_the_log, "storage.log_damaged")],
)
def test_after_damage_what_is_saved_arrives_and_alarms_go_on(
    plant: Callable[..., Plant], damage: Callable[[Plant], None], event: str
) -> None:
    """A page in the middle or the log's end is spoilt: the log says so, and what is left is delivered as promised."""
    running = plant()
    running.wait_for_alarms(1)
    running.broker.stop()  # so that nothing leaves the outbox unseen while its ledger is made anew
    delivered = {message.payload for message in running.delivered()}
    known = [row for row in running.committed() if row.payload in delivered]
    damage(running)
    keep_ledger_anew(running.product.state, known)
    assert len(told(running, event)) == 1
    running.broker.start()
    running.check()
    running.stop()


def told(plant: Plant, event: str) -> list[dict[str, object]]:
    """Return the events of this name in the daemon's log."""
    assert plant.daemon is not None
    return [each for each in plant.daemon.events() if each["event"] == event]


def test_a_damaged_bundle_is_refused_with_one_line(tmp_path: Path, enrolled_state: Path) -> None:
    """A model file that differs from its manifest is never run: the daemon ends and names the file."""
    shutil.copytree(enrolled_state, tmp_path / "state")
    spectral = find_bundle("spectral", tmp_path / "state").folder
    shutil.copytree(spectral, tmp_path / "state/models/spectral")
    spoil(tmp_path / "state/models/spectral/model.onnx", 1000, 10)
    done = Product(tmp_path, FAILING, bundle=str(tmp_path / "state/models/spectral")).command("run")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("edge-monitor: ")]
    assert len(lines) == 1
    assert "model.onnx" in lines[0]
    assert "Traceback" not in done.stderr


def test_a_damaged_configuration_is_refused_with_one_line(tmp_path: Path) -> None:
    """A configuration with random bytes in it ends the start with code 2, and names the file."""
    product = Product(tmp_path, FAILING)
    argv = product.argv("run")
    spoil(tmp_path / "edge-monitor.toml", 10, 10)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "edge-monitor.toml" in done.stderr
    assert "Traceback" not in done.stderr
