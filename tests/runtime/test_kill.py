"""kill -9 at any point: what was committed stays, what was not leaves no trace, the same alarm goes on."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.broker import wait_until
from tests.product import Product
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Product]


@pytest.mark.parametrize("seed", range(6))
def test_enrolment_killed_goes_on_where_it_was(healthy_clips: Path, tmp_path: Path, seed: int) -> None:
    """However far an enrolment came, every recording is in whole or not at all, and the next one finishes it."""
    product = Product(tmp_path, '{ kind = "simulator" }')
    enrolment = subprocess.Popen(
        product.argv("enroll", str(healthy_clips)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wanted = random.Random(seed).randrange(60)  # noqa: S311 - which point to kill at is no secret
    wait_until(lambda: enrolment.poll() is not None or recordings(product) >= wanted, 60.0, "so many recordings")
    enrolment.kill()
    enrolment.wait(10)
    assert product.intact()
    assert product.rows("SELECT count(*) FROM recordings WHERE id NOT IN (SELECT recording_id FROM normals)") == [(0,)]
    committed = recordings(product)
    again = product.command("enroll", str(healthy_clips))
    assert again.returncode == 0, again.stderr
    assert recordings(product) == 60 >= committed
    assert product.rows("SELECT count(*) FROM normals") == [(60,)]
    assert product.rows("SELECT count(*) FROM generations WHERE active = 1") == [(1,)]


def test_a_live_enrolment_that_is_killed_counts_for_nothing(enrolled: Make) -> None:
    """The next daemon withdraws what was heard and says so; what was learnt before stays in use."""
    product = enrolled('{ kind = "simulator", machine = "pump", take = 4, pace = 30 }')
    learnt = product.rows("SELECT count(*) FROM normals")[0][0]
    with product.daemon() as daemon:
        enrolment = subprocess.Popen(product.argv("enroll", "--live", "60"), stderr=subprocess.DEVNULL)
        wait_until(lambda: product.rows("SELECT count(*) FROM normals") >= [(learnt + 6,)], 30.0, "two blocks")
        daemon.kill()
        enrolment.wait(30)
    assert enrolment.returncode
    heard = product.rows("SELECT count(*) FROM normals")[0][0] - learnt
    with product.daemon() as daemon:

        def said() -> list[int]:
            return [each["normals"] for each in daemon.events() if each["event"] == "memory.enrolment_withdrawn"]

        wait_until(lambda: said() == [heard], 10.0, "the log line")
        assert product.answer("generations build")["normals"] == learnt
        assert daemon.stop() == 0


def recordings(product: Product) -> int:
    """Return how many recordings are committed."""
    if not (product.state / "edge-monitor.db").exists():
        return 0
    [(tables,)] = product.rows("SELECT count(*) FROM sqlite_master WHERE name = 'recordings'")
    return int(product.rows("SELECT count(*) FROM recordings")[0][0]) if tables else 0


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_daemon_loses_no_committed_alarm(enrolled: Make, seed: int) -> None:
    """A daemon killed at a random moment of a failing pump leaves a whole database, and every message it owed."""
    product = enrolled(
        '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 20, pace = 40 }', mqtt_port=1
    )
    with product.daemon() as daemon:
        time.sleep(random.Random(seed).uniform(0.0, 3.0))  # noqa: S311 - which moment to kill at is no secret
        daemon.kill()
    assert product.intact()
    owed = product.rows("SELECT alarm_id, last_seq FROM alarms")
    queued = product.rows("SELECT alarm_id, max(seq) FROM outbox WHERE topic LIKE '%/alert' GROUP BY alarm_id")
    assert queued == owed
    with product.daemon() as daemon:
        wait_until(lambda: product.rows("SELECT 1 FROM alarms"), 60.0, "an alarm")
        assert set(owed) <= set(product.rows("SELECT alarm_id, 0 FROM alarms"))
        assert daemon.stop() == 0


def test_the_same_alarm_goes_on_after_a_kill(enrolled: Make) -> None:
    """Killed inside an alarm, the daemon restores it: no second start, and its end carries the same id."""
    product = enrolled(
        '{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 20, pace = 40 }', mqtt_port=1
    )
    with product.daemon() as daemon:
        wait_until(lambda: product.rows("SELECT 1 FROM alarms"), 60.0, "an alarm")
        daemon.kill()
    [(alarm_id,)] = product.rows("SELECT alarm_id FROM alarms WHERE ended_ms IS NULL")
    product.source = '{ kind = "simulator", machine = "pump", take = 2, pace = 40 }'  # it was repaired meanwhile
    with product.daemon() as daemon:
        wait_until(lambda: product.rows("SELECT 1 FROM alarms WHERE ended_ms IS NOT NULL"), 60.0, "its end")
        assert daemon.stop() == 0
    [(same, last)] = product.rows("SELECT alarm_id, last_seq FROM alarms")
    assert (same, last >= 1) == (alarm_id, True)
    alerts = product.rows("SELECT alarm_id, seq FROM outbox WHERE topic LIKE '%/alert' ORDER BY id")
    assert alerts == [(alarm_id, seq) for seq in range(last + 1)]


@pytest.mark.parametrize("damage", [b"", b"not an index"])
def test_a_damaged_index_is_rebuilt(enrolled: Make, tmp_path: Path, damage: bytes) -> None:
    """An index file that a crash left empty or wrong is rebuilt, and the run goes on."""
    write_clips(tmp_path / "clips", "healthy", pump(30, take=1))
    product = enrolled(f'{{ kind = "recording", path = "{tmp_path / "clips"}", pace = 5 }}')
    [index] = (product.state / "index").glob("*.hnsw")
    sound = index.read_bytes()
    index.write_bytes(damage)
    with product.daemon() as daemon:
        wait_until(lambda: index.read_bytes() == sound, 20.0, "the index")
        assert daemon.process.wait(20) == 0
    sources = [event["index"] for event in daemon.events() if event["event"] == "memory.generation_loaded"]
    assert sources[0].startswith("exact (index damaged")
    assert sources[1].startswith("built (damaged")
