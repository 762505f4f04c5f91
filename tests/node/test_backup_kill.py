"""A backup or a restore that is killed at any moment: one state or the other, and nothing is left behind."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor.node.backup_file import open_backup
from tests.broker import wait_until
from tests.node.backups import CONTENT, unfinished
from tests.store.made import ALARM, add_alarm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.product import Product

KILLS = int(os.environ.get("EDGE_MONITOR_KILL_POINTS", "3"))  # 50 in the long form


def seeded() -> random.Random:
    """Return what to draw moments from; the seed is printed, for a second time."""
    seed = int(os.environ.get("EDGE_MONITOR_KILL_SEED", time.time_ns() % 10**6))
    print("EDGE_MONITOR_KILL_SEED", seed)  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)  # noqa: S311 - when to kill is no secret


@pytest.mark.parametrize("_point", range(KILLS))
def test_a_restore_that_is_killed_leaves_the_old_or_the_new_state(saved: tuple[Product, Path], _point: int) -> None:
    """SIGKILL at a random moment of its run: never a part of either, and what was promised is promised still."""
    draw = seeded()
    product, file = saved
    path = product.state / "edge-monitor.db"
    new = product.rows(CONTENT)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE recordings SET name = 'old ' || name")
        add_alarm(connection, ALARM, messages=3)
        connection.commit()
    old = product.rows(CONTENT)
    argv = product.argv("restore", str(file), "--force")
    began_s = time.monotonic()
    subprocess.run(product.argv("restore", str(file), "--dry-run"), check=True, capture_output=True)
    whole_s = 1.3 * (time.monotonic() - began_s)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(whole_s * draw.uniform(0.5, 1.0))
        process.kill()
    assert product.rows(CONTENT) in (old, new)
    assert product.intact()
    assert product.rows("SELECT seq FROM outbox ORDER BY id") == [(0,), (1,), (2,)]
    subprocess.run(argv, check=True, capture_output=True)
    assert product.rows(CONTENT) == new
    assert product.rows("SELECT seq FROM outbox ORDER BY id") == [(0,), (1,), (2,)]
    assert product.rows("SELECT alarm_id FROM alarms WHERE ended_ms IS NULL") == [(ALARM,)]
    assert product.intact()
    assert unfinished(product) == []


@pytest.mark.parametrize("_point", range(KILLS))
def test_a_backup_that_is_killed_or_whose_daemon_is_leaves_nothing_but_whole_files(
    enrolled: Callable[..., Product], tmp_path: Path, _point: int
) -> None:
    """SIGKILL at a random moment: the database is whole, FILE is whole or missing, the next start tidies up."""
    draw = seeded()
    product, file = enrolled(), tmp_path / "node.backup"
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection:
        connection.execute("UPDATE normals SET spectrogram = zeroblob(1000000)")
        connection.commit()
    with product.daemon() as daemon:
        with subprocess.Popen(product.argv("backup", str(file)), stderr=subprocess.DEVNULL) as process:
            time.sleep(draw.uniform(0.2, 1.5))
            (daemon if draw.random() < 0.5 else process).kill()
            process.wait(30)
        assert product.intact()
        if file.exists():
            with open_backup(file) as backup:
                assert backup.manifest.machines["pump"].normals == 60
    with product.daemon():
        wait_until(lambda: not unfinished(product), 10.0, "nothing unfinished")
        product.answer("backup", str(file), "--force")
        assert unfinished(product) == []
