"""Mean opinion scores by hand-counted figures."""

from __future__ import annotations

import numpy as np
import pytest

from edge_monitor.evaluate.answers import Rating
from edge_monitor.evaluate.opinion import opinion_of, tally


def rating(rater: str, item: str, method: str, value: int, machine_id: str = "id_00") -> Rating:
    """Return one rating of a pump."""
    return Rating(rater, item, "pump", machine_id, method, value)


def test_ids_above_three_are_counted_as_in_the_paper() -> None:
    """A mean of exactly 3 is not above 3."""
    ratings = [
        rating("ann", "1", "measured", 4),
        rating("bob", "1", "measured", 5),
        rating("ann", "2", "measured", 2, "id_02"),
        rating("bob", "2", "measured", 4, "id_02"),
        rating("ann", "1", "zero-shot", 1),
    ]
    counted = tally(ratings)
    assert [(row.machine_id, row.method, row.opinion.mos) for row in counted.rows] == [
        ("id_00", "measured", 4.5),
        ("id_00", "zero-shot", 1.0),
        ("id_02", "measured", 3.0),
    ]
    assert [(row.method, row.opinion.mos, row.ids_above, row.ids) for row in counted.methods] == [
        ("measured", 3.75, 1, 2),
        ("zero-shot", 1.0, 0, 1),
    ]


def test_one_rating_has_no_interval_and_equal_ones_a_point() -> None:
    """Nothing is claimed of what was not seen to vary."""
    alone = opinion_of([rating("ann", "1", "measured", 4)])
    assert (alone.mos, alone.low, alone.high, alone.raters, alone.items) == (4.0, None, None, 1, 1)
    same = opinion_of([rating(rater, item, "measured", 4) for rater in "ab" for item in "12"])
    assert (same.mos, same.low, same.high, same.ratings) == (4.0, 4.0, 4.0, 4)


def test_the_interval_covers_both_raters_and_items() -> None:
    """A strict and a mild rater of the same items leave the mean in doubt, however many items there are."""
    ratings = [rating(rater, str(item), "m", value) for rater, value in (("a", 1), ("b", 5)) for item in range(50)]
    opinion = opinion_of(ratings)
    assert (opinion.mos, opinion.low, opinion.high) == (3.0, 1.0, 5.0)
    by_item = [rating("a", str(item), "m", 1 + 4 * (item % 2)) for item in range(50)]
    opinion = opinion_of(by_item)
    assert opinion.mos == 3.0
    assert opinion.low == pytest.approx(2.4, abs=0.15)  # 3 - 1.96 * 2 / sqrt(50)
    assert opinion.high == pytest.approx(3.6, abs=0.15)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    """With ten raters and twenty items, of known spread each, at least nine times in ten."""
    draw = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        of_raters, of_items = draw.normal(0, 0.5, 10), draw.normal(0, 0.5, 20)
        values = np.clip(np.rint(3 + of_raters[:, None] + of_items + draw.normal(0, 0.7, (10, 20))), 1, 5)
        ratings = [rating(str(r), str(i), "m", int(values[r, i])) for r in range(10) for i in range(20)]
        opinion = opinion_of(ratings)
        held += (opinion.low or 0) <= 3 <= (opinion.high or 9)
    assert 88 <= held <= 100
