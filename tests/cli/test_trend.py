"""`edge-monitor trend`: of what was stored, with and without a daemon, on any terminal."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_monitor.cli.plot import plotted
from edge_monitor.pipeline.score_rollups import DAY_MS, roll_up
from edge_monitor.store.store import Store
from tests.runtime.scored import half_a_day, minute, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.product import Product

    Make = Callable[..., Product]


def learnt(product: Product) -> tuple[float, float]:
    """Return the usual score of the active generation, and its threshold."""
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection:
        row = connection.execute("SELECT calibration, threshold FROM generations WHERE active = 1").fetchone()
    return json.loads(row[0])["median_score"], row[1]


def grown(product: Product) -> None:
    """Write half a day in which the score grows, and thirty days of a steady one."""
    usual, threshold = learnt(product)
    now_ms = time.time_ns() // 1_000_000
    midnight_ms = now_ms - now_ms % DAY_MS
    with Store(product.state / "edge-monitor.db") as store:
        write(store, [minute(midnight_ms - day * DAY_MS, usual * (1 + day % 3 / 1000)) for day in range(2, 32)])
        write(store, half_a_day(now_ms, usual, threshold))
        roll_up(store, now_ms)


def test_a_growing_fault_is_rising_and_has_a_forecast(enrolled: Make) -> None:
    """The same from the database and from a daemon: rising over hours, steady over days, in words and figures."""
    product = enrolled()
    grown(product)
    answer = product.answer("trend")
    assert (answer["machine"], answer["generation"]) == ("pump", 1)
    hours, days = answer["hours"], answer["days"]
    assert (hours["direction"], days["direction"]) == ("rising", "steady")
    assert len(hours["medians"]) in {71, 72}
    assert len(days["medians"]) in {30, 31}  # before noon (UTC) the half day began yesterday
    assert hours["slope_low_percent"] <= hours["slope_percent"] <= hours["slope_high_percent"]
    assert hours["since_ms"] / 1000 == pytest.approx(time.time() - 5 * 3600, abs=1500)
    assert hours["threshold_earliest"] <= hours["threshold_at"] <= hours["threshold_latest"]
    assert hours["ratio"] == pytest.approx(0.97, abs=0.03)
    done = product.command("trend", "--machine", "pump")
    lines = done.stdout.splitlines()
    assert lines[0] == f"pump, 12 hours: {hours['text']}"
    assert hours["text"].startswith(f"rising since {hours['since'][:16]}Z, +")
    assert any(line.startswith(" 1.00 ┈┈┈┈") for line in lines)
    plain = product.__class__(product.folder, product.source, environment={"PYTHONIOENCODING": "ascii"})
    assert any(line.startswith(" 1.00 ----") for line in plain.command("trend").stdout.splitlines())
    with product.daemon() as daemon:
        assert product.answer("trend")["hours"]["direction"] == "rising"
        assert daemon.stop() == 0


def test_scores_of_another_generation_are_not_compared(enrolled: Make) -> None:
    """What was learnt anew begins anew: a step of the score's unit is no trend."""
    product = enrolled()
    grown(product)
    assert product.command("generations build").returncode == 0
    answer = product.answer("trend")
    assert answer["generation"] == 2
    assert {answer[scale]["direction"] for scale in ("hours", "days")} == {"unknown"}
    done = product.command("trend")
    assert done.stdout.splitlines()[0] == "pump, 12 hours: too few medians to say: 0 of 12"
    assert product.command("generations activate", "1").returncode == 0
    assert product.answer("trend")["hours"]["direction"] == "rising"


def test_a_machine_that_is_not_enrolled_has_no_trend(enrolled: Make) -> None:
    """One line says what to do; a machine that is not configured is refused in one."""
    product = enrolled()
    product.machine = "fan"
    done = product.command("trend")
    assert done.stdout == "fan: not enrolled. `edge-monitor enroll` learns how it sounds when healthy.\n"
    done = product.command("trend", "--machine", "pomp")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no machine is named 'pomp'" in done.stderr


def test_a_plot_has_its_line_and_no_more_columns_than_there_are() -> None:
    """Bars of 0.5 and 2 with a gap between them, the line at 1."""
    bars = plotted([0.0, 1.0, 3.0], [0.5, 0.5, 2.0], line=1.0, columns=40, blocks=True)
    assert bars == (
        " 2.00    █",
        "         █",
        "         █",
        " 1.00 ┈┈┈█",
        "         █",
        "         █",
        "      ██ █",
        "      ██ █",
    )
    many = plotted([float(i) for i in range(1000)], [1.0] * 1000, line=1.0, columns=40, blocks=False)
    assert max(map(len, many)) == 40
    assert set("".join(many)) <= set(" .:#-0123456789")
