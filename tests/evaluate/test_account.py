"""Tables of a measurement of which a part is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.evaluate import report, table_i
from edge_monitor.evaluate.account import Account
from edge_monitor.evaluate.figures import Curve, Figures, Row

if TYPE_CHECKING:
    from typing import Any

ENDS = ("auc_low", "auc_high", "auc_mean_low", "auc_mean_high")


def for_programs(account: Account) -> dict[str, Any]:
    """Return the figures for programs as JSON gives them back."""
    found: dict[str, Any] = json.loads(json.dumps(report.for_programs(account)))
    return found


def row(machine_id: str, threshold: float | None) -> Row:
    """Return a pump: normal scores 1 and 2, anomalous 3 and 4."""
    curve = Curve(np.array([1.0, 2.0]), np.array([3.0, 4.0]), n_train=6, threshold=threshold)
    full = np.array([100.0])
    return Row("pump", machine_id, "spectral", full, full, n_train=6, n_normal=2, n_anomaly=2, curve=curve)


def test_a_machine_id_without_a_threshold_leaves_the_others_theirs() -> None:
    """Most of its normal windows were identical, say: its cells are empty, and the average is over the other one."""
    figures = Figures(("spectral",), (row("id_00", None), row("id_02", 3.5)), None)
    account = Account("set", figures, {"spectral": "a bundle"}, (), {}, ())
    assert account.thresholds().rows == (
        ("pump id_00", "spectral", "2", "0.0%", "0.0%", "-", "-", "-"),
        ("pump id_02", "spectral", "2", "0.0%", "0.0%", "3.5", "0.0%", "50.0%"),
        ("all, average", "spectral", "", "0.0%", "0.0%", "", "0.0%", "50.0%"),
    )


def of_machine(machine: str, detector: str, n_train: int, n_test: int) -> Row:
    """Return a row of so many clips."""
    full = np.array([100.0])
    return Row(
        machine, "id_00", detector, full, full, n_train=n_train, n_normal=100, n_anomaly=n_test - 100, curve=None
    )


def test_a_detector_that_measured_less_than_the_first_is_not_comparable_with_the_paper() -> None:
    """The first has the whole development set, the second lacks Fan and a clip of Valve: it is named with both."""
    whole = [of_machine(machine, "autoencoder", *clips) for machine, clips in table_i.CLIPS.items()]
    part = [of_machine(machine, "spectral", *clips) for machine, clips in table_i.CLIPS.items() if machine != "Fan"]
    part[-1] = of_machine("Valve", "spectral", 3291, 878)
    both = ("autoencoder", "spectral")
    assert Account("set", Figures(both, tuple(whole), None), {}, (), {}, ()).incomparable() == ()
    assert Account("set", Figures(both, (*whole, *part), None), {}, (), {}, ()).incomparable() == (
        "spectral: without Fan",
        "spectral: Valve has 4169 clips, there 4170",
    )
    assert Account("set", Figures(both, tuple(part), None), {}, (), {}, ()).incomparable() == (
        "without Fan",
        "Valve has 4169 clips, there 4170",
    )


def split(machine_id: str, detector: str, *aucs: float) -> Row:
    """Return a pump's row of so many random splits."""
    points = np.array(aucs)
    return Row("pump", machine_id, detector, points, points, n_train=6, n_normal=4, n_anomaly=2, curve=None)


def test_one_split_of_one_machine_id_has_no_interval() -> None:
    """Ends that coincide would look exact; two splits, or two machine ids, vary."""
    both = ("spectral", "other")
    one = Figures(both, (split("id_00", "spectral", 80.0), split("id_00", "other", 90.0)), 1)
    account = Account("set", one, {}, (), {("pump", "id_00"): (-6.0, 0.0)}, ())
    assert account.main().rows[0][:7] == (
        "pump id_00",
        "-6, 0",
        "6",
        "4",
        "2",
        "80.00 (80.00)",
        "90.00 (90.00)",
    )
    assert [row[:6] for row in account.overview().rows[:2]] == [
        ("spectral", "80.00", "-", "80.00", "1", "-"),
        ("other", "90.00", "-", "90.00", "1", "+10.00"),
    ]
    figures = for_programs(account)
    assert figures["mean_auc_interval"] == {}
    assert figures["differences"] == [
        {"bundle": "other", "reference": "spectral", "auc": 10.0, "low": None, "high": None}
    ]
    assert [row[end] for row in figures["rows"] for end in ENDS] == [None] * 8
    two = Figures(("spectral",), (split("id_00", "spectral", 80.0), split("id_02", "spectral", 90.0)), 1)
    assert two.interval("spectral") == (80.0, 90.0)


def test_the_spread_of_splits_is_not_the_interval_of_their_mean() -> None:
    """Splits lie between 60 and 100; a hundred of them have their mean within a few points of 80."""
    row = split("id_00", "spectral", *[60.0, 100.0] * 50)
    assert row.auc_spread == (60.0, 100.0)
    assert row.auc_interval is not None
    assert row.auc_interval == pytest.approx((76.0, 84.0), abs=0.9)  # 80 ± 1.96 * 20 / 10
    facts = for_programs(Account("set", Figures(("spectral",), (row,), 100), {}, (), {}, ()))["rows"][0]
    assert (facts["auc_low"], facts["auc_high"]) == (60.0, 100.0)
    assert (facts["auc_mean_low"], facts["auc_mean_high"]) == pytest.approx(row.auc_interval, abs=1e-3)


def test_the_papers_first_column_is_named_when_it_was_not_measured() -> None:
    """With the option that measures it; once measured it is a row like others."""
    figures = Figures(("spectral",), (row("id_00", None),), None)
    rows = Account("set", figures, {}, ("PANNs",), {}, ()).overview().rows
    assert [found[:2] for found in rows[1:]] == [
        ("autoencoder", "not measured: --baseline autoencoder (needs torch)"),
        ("PANNs", "not available yet"),
    ]
    measured = Figures(("autoencoder", "spectral"), figures.rows, None)
    assert len(Account("set", measured, {}, ("PANNs",), {}, ()).overview().rows) == 3
