"""Ratings of captions: filled listening sheets, read against the sheet's key, and mean opinion scores from them."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.errors import DatasetError, os_errors_as
from edge_monitor.evaluate.sheet import KEY_VERSION, RATINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COLUMNS = ("rater", "item", "slot", "rating")
INFORMATIVE = 3.0  # the paper, IV-C: above it a machine id's captions count as informative to some extent
PAPER_ABOVE = {"text-decoder": 10, "zero-shot": 8, "combination": 11}  # the paper, Fig. 2: ids above 3 …
PAPER_IDS = 23  # … of so many
_DRAWS = 2000
_SEED = 20


@dataclass(frozen=True, slots=True)
class KeyItem:
    """What a key tells of an item."""

    machine: str
    machine_id: str
    methods: Mapping[str, str]  # slot -> method


@dataclass(frozen=True, slots=True)
class Rating:
    """One person's opinion of one caption."""

    rater: str
    item: str
    machine: str
    machine_id: str
    method: str
    value: int  # 1 worst … 5 best


@dataclass(frozen=True, slots=True)
class Answers:
    """All ratings that count, and one line for each file of which something does not."""

    ratings: tuple[Rating, ...]
    complaints: tuple[str, ...]


def read_key(path: Path) -> dict[str, KeyItem]:
    """Return a sheet's items by name. Raises DatasetError when the file is no key."""
    try:
        content: Any = json.loads(path.read_bytes())
        if content["key_version"] != KEY_VERSION:
            raise DatasetError(f"a key of version {content['key_version']}, not {KEY_VERSION}", where=str(path))
        return {
            str(item["item"]): KeyItem(
                machine=str(item["machine"]),
                machine_id=str(item["id"]),
                methods={str(slot["slot"]): str(slot["method"]) for slot in item["slots"]},
            )
            for item in content["items"]
        }
    except FileNotFoundError as error:
        hint = "--out names the folder of the sheet that was rated; its key lies beside it"
        raise DatasetError("no such key", where=str(path), hint=hint) from error
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError("not the key of a listening sheet", where=str(path)) from error


def read_answers(paths: Sequence[Path], key: Mapping[str, KeyItem]) -> Answers:
    """Return the ratings of all files. A rater's later rating of the same caption replaces the earlier one.

    A file that is none, and rows that say nothing about this sheet, are left out and complained of.
    """
    ratings: dict[tuple[str, str, str], Rating] = {}
    complaints: list[str] = []
    for path in paths:
        wrong: list[str] = []
        try:
            for number, row in _rows(path):
                try:
                    rating = _rating(row, key)
                except ValueError as error:
                    wrong.append(f"row {number}: {error}")
                    continue
                ratings[rating.rater, rating.item, rating.method] = rating
        except DatasetError as error:
            complaints.append(str(error))
        if wrong:
            count = "1 row is" if len(wrong) == 1 else f"{len(wrong)} rows are"
            complaints.append(f"{path}: {count} left out, {wrong[0]}")
    return Answers(tuple(ratings.values()), tuple(complaints))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows with their numbers, the header being row 1; spreadsheets may have made semicolons of commas."""
    try:
        with os_errors_as(DatasetError, "left out: cannot be read", where=path):
            text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("left out: not a CSV in UTF-8", where=str(path)) from error
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(f"left out: no column {', '.join(missing)}", where=str(path))
        for row in reader:
            yield reader.line_num, {column: (row[column] or "").strip() for column in COLUMNS}
    except csv.Error as error:
        raise DatasetError(f"left out from row {reader.line_num + 1} on: {error}", where=str(path)) from error


def _rating(row: dict[str, str], key: Mapping[str, KeyItem]) -> Rating:
    """Return what a row says. Raises ValueError when it says nothing about the key's sheet."""
    item = key.get(row["item"])
    if item is None:
        raise ValueError(f"item {row['item']!r} is not of this sheet")
    method = item.methods.get(row["slot"])
    if method is None:
        raise ValueError(f"item {row['item']} has no caption {row['slot']!r}")
    if not row["rater"]:
        raise ValueError("no rater")
    if row["rating"] not in map(str, RATINGS):
        raise ValueError(f"rating {row['rating']!r} is not {RATINGS[0]} to {RATINGS[-1]}")
    return Rating(row["rater"], row["item"], item.machine, item.machine_id, method, int(row["rating"]))


@dataclass(frozen=True, slots=True)
class Opinion:
    """The mean of some ratings, 1 worst … 5 best."""

    mos: float
    low: float | None  # 95 % interval; None: a single rating has none
    high: float | None
    ratings: int
    raters: int
    items: int


@dataclass(frozen=True, slots=True)
class IdOpinion:
    """What people think of one method's captions for one machine id."""

    machine: str
    machine_id: str
    method: str
    opinion: Opinion


@dataclass(frozen=True, slots=True)
class MethodOpinion:
    """What people think of one method over all machine ids."""

    method: str
    opinion: Opinion
    ids: int
    ids_above: int  # whose mean opinion score is above INFORMATIVE


@dataclass(frozen=True, slots=True)
class Tally:
    """All ratings counted."""

    rows: tuple[IdOpinion, ...]  # by machine, id, method
    methods: tuple[MethodOpinion, ...]  # by name


def tally(ratings: Sequence[Rating]) -> Tally:
    """Return the mean opinion scores per method and machine id, and per method; empty for no ratings."""
    by_id: dict[tuple[str, str, str], list[Rating]] = defaultdict(list)
    by_method: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        by_id[rating.machine, rating.machine_id, rating.method].append(rating)
        by_method[rating.method].append(rating)
    rows = tuple(IdOpinion(*place, opinion_of(given)) for place, given in sorted(by_id.items()))
    methods = []
    for method, given in sorted(by_method.items()):
        of_ids = [row.opinion.mos for row in rows if row.method == method]
        methods.append(MethodOpinion(method, opinion_of(given), len(of_ids), sum(mos > INFORMATIVE for mos in of_ids)))
    return Tally(rows, tuple(methods))


def opinion_of(ratings: Sequence[Rating]) -> Opinion:
    """Return the mean of ratings and its interval: other raters and other items might have been drawn.

    Raters and items are crossed, so both are drawn anew (the pigeonhole bootstrap: Owen 2007, Annals of Applied
    Statistics 1(2)); percentiles 2.5 and 97.5 of 2000 draws. Of one rater it speaks of items only, and vice versa.
    With three raters it is a rough figure.
    """
    raters = sorted({rating.rater for rating in ratings})
    items = sorted({rating.item for rating in ratings})
    values = np.zeros((len(raters), len(items)))
    given = np.zeros((len(raters), len(items)))  # 1 where there is a rating
    for rating in ratings:
        place = raters.index(rating.rater), items.index(rating.item)
        values[place] = rating.value
        given[place] = 1.0
    mos = float(values.sum() / given.sum())
    low, high = (None, None) if len(ratings) == 1 else _interval(values, given)
    return Opinion(mos, low, high, len(ratings), len(raters), len(items))


def _interval(values: NDArray[np.float64], given: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of (rater, item) values where `given` is 1."""
    draw = np.random.default_rng(_SEED)
    raters, items = values.shape
    of_raters = draw.multinomial(raters, np.full(raters, 1.0 / raters), size=_DRAWS).astype(np.float64)  # (draw, rater)
    of_items = draw.multinomial(items, np.full(items, 1.0 / items), size=_DRAWS).astype(np.float64)  # (draw, item)
    sums = np.einsum("dr,ri,di->d", of_raters, values, of_items, optimize=True)
    counts = np.einsum("dr,ri,di->d", of_raters, given, of_items, optimize=True)
    means = sums[counts > 0] / counts[counts > 0]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
