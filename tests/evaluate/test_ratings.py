"""Filled sheets come from many hands: what says something counts, what does not is named; scores are hand-counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.ratings import KeyItem, Rating, opinion_of, read_answers, read_key, tally

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "rater,item,slot,rating"
KEY = {
    "s-01": KeyItem("pump", "id_00", {"A": "measured", "B": "zero-shot"}),
    "s-02": KeyItem("fan", "id_02", {"A": "zero-shot", "B": "measured"}),
}


def test_ratings_are_told_by_method(tmp_path: Path) -> None:
    """The slot's method and the item's machine come from the key, not from the file."""
    path = tmp_path / "a.csv"
    path.write_text(f"{HEAD}\nann,s-01,A,4\nann,s-02,A,2\n")
    read = read_answers([path], KEY)
    assert read.complaints == ()
    assert [(r.machine, r.machine_id, r.method, r.value) for r in read.ratings] == [
        ("pump", "id_00", "measured", 4),
        ("fan", "id_02", "zero-shot", 2),
    ]


def test_bad_files_and_rows_are_left_out_in_one_line_each_and_the_rest_counts(tmp_path: Path) -> None:
    """Not there, a folder, not text, another table, wrong rows."""
    contents = {
        "binary.csv": b"\xff\xfe\x00",
        "empty.csv": b"",
        "other.csv": b"rater,item\nann,s-01\n",
        "rows.csv": (
            f"{HEAD}\nann,s-01,A,6\nann,s-09,A,3\nann,s-01,C,3\n,s-01,A,3\nann,s-01,A\nann,s-01,B,3\n"
        ).encode(),
        "one.csv": f"{HEAD}\nbob,t-01,A,3\nbob,s-01,A,3\n".encode(),
        "torn.csv": f'{HEAD}\ncid,s-01,A,3\n"ci{"x" * 200_000}'.encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.csv").mkdir()
    names = ["none.csv", "folder.csv", *contents]
    read = read_answers([tmp_path / name for name in names], KEY)
    columns = ", ".join(HEAD.split(","))
    assert [line.removeprefix(f"{tmp_path}/") for line in read.complaints] == [
        "none.csv: left out: cannot be read: No such file or directory",
        "folder.csv: left out: cannot be read: Is a directory",
        "binary.csv: left out: not a CSV in UTF-8",
        f"empty.csv: left out: no column {columns}",
        "other.csv: left out: no column slot, rating",
        "rows.csv: 5 rows are left out, row 2: rating '6' is not 1 to 5",
        "one.csv: 1 row is left out, row 2: item 't-01' is not of this sheet",
        "torn.csv: left out from row 3 on: field larger than field limit (131072)",
    ]
    assert [(r.rater, r.method) for r in read.ratings] == [
        ("ann", "zero-shot"),
        ("bob", "measured"),
        ("cid", "measured"),
    ]


def test_a_spreadsheet_may_have_saved_the_file(tmp_path: Path) -> None:
    """A byte order mark and semicolons are what some of them write."""
    path = tmp_path / "a.csv"
    path.write_text(f"{HEAD};\n".replace(",", ";") + "Jörg;s-01;B; 5 ;\n", "utf-8-sig")
    (rating,) = read_answers([path], KEY).ratings
    assert (rating.rater, rating.method, rating.value) == ("Jörg", "zero-shot", 5)


def test_a_later_rating_replaces_the_earlier_one(tmp_path: Path) -> None:
    """A sheet downloaded half done and again at the end counts once."""
    for name, rows in (("1.csv", "ann,s-01,A,1\n"), ("2.csv", "ann,s-01,A,4\nann,s-01,B,2\n")):
        (tmp_path / name).write_text(f"{HEAD}\n{rows}")
    read = read_answers([tmp_path / "1.csv", tmp_path / "2.csv"], KEY)
    assert [(r.method, r.value) for r in read.ratings] == [("measured", 4), ("zero-shot", 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such key"),
        ("{", "not the key of a listening sheet"),
        ("[]", "not the key of a listening sheet"),
        ('{"key_version": 9}', "a key of version 9, not 1"),
    ],
)
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    """Without its key a sheet cannot be counted."""
    if content is not None:
        (tmp_path / "key.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_key(tmp_path / "key.json")


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
