"""The paper's Table I as we have it adds up, and only its own test stands beside it."""

from __future__ import annotations

import numpy as np
import pytest

from edge_monitor.evaluate import table_i


@pytest.mark.parametrize("machine", table_i.AUC)
def test_the_printed_averages_follow_from_the_cells(machine: str) -> None:
    """Within one unit of the last digit: some were cut, some rounded."""
    means = np.mean(list(table_i.AUC[machine].values()), axis=0)
    assert means == pytest.approx(table_i.AVERAGE[machine], abs=0.0051)


def test_the_overall_average_is_that_of_the_machines() -> None:
    """The mean over all 23 ids would be half a point higher; that is not what is printed."""
    assert np.mean(list(table_i.AVERAGE.values()), axis=0) == pytest.approx(table_i.OVERALL, abs=0.01)
    assert table_i.OVERALL == (73.51, 71.88, 73.30, 72.79)
    every = np.array([figures for ids in table_i.AUC.values() for figures in ids.values()])
    assert len(every) == 23
    assert every.mean(axis=0) == pytest.approx((73.55, 72.42, 73.93, 73.31), abs=0.01)


def test_the_derived_cell_is_what_the_printed_average_leaves() -> None:
    """57.16 is the mean of Fan's four ids."""
    machine, machine_id, column = table_i.DERIVED
    derived = 4 * 57.16 - (61.89 + 46.88 + 67.96)
    assert table_i.AUC[machine][machine_id][table_i.COLUMNS.index(column)] == pytest.approx(derived)


def test_a_row_is_found_by_the_data_sets_names() -> None:
    """Folders are in small letters, and ids begin with `id_`."""
    assert table_i.figures_of("slider", "id_00") == (96.19, 99.89, 99.98, 99.25)
    assert table_i.figures_of("ToyCar", "id_01") == (81.36, 80.04, 76.94, 75.68)
    assert table_i.figures_of("fan", "section_00") is None
    assert table_i.figures_of("gearbox", "id_00") is None


def test_only_the_whole_development_set_is_the_papers_test() -> None:
    """Fewer machines, others, or other numbers of clips are named."""
    whole = {
        "ToyCar": (4000, 2459),
        "ToyConveyor": (3000, 3509),
        "fan": (3675, 1875),
        "pump": (3349, 856),
        "slider": (2804, 1290),
        "valve": (3291, 879),
    }
    assert table_i.differences(whole, own_split=True) == ()
    assert table_i.differences({**whole, "fan": (30, 60)}, own_split=True) == ("Fan has 90 clips, there 5550",)
    assert table_i.differences({**whole, "fan": (3670, 1880)}, own_split=True) == (
        "Fan has 3670 training clips, there 3675",
    )
    assert table_i.differences({"pump": (3349, 856), "gearbox": (1, 1)}, own_split=True) == (
        "without ToyCar, ToyConveyor, Fan, Slider, Valve",
        "with gearbox",
    )
