"""Tables of a measurement of which a part is missing."""

from __future__ import annotations

import numpy as np

from edge_monitor.evaluate import table_i
from edge_monitor.evaluate.account import Account
from edge_monitor.evaluate.figures import Curve, Figures, Row


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
        "spectral: without Fan", "spectral: Valve has 4169 clips, there 4170",
    )  # fmt: skip
    assert Account("set", Figures(both, tuple(part), None), {}, (), {}, ()).incomparable() == (
        "without Fan", "Valve has 4169 clips, there 4170",
    )  # fmt: skip
