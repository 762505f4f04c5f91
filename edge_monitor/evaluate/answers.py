"""Filled listening sheets: CSV files of ratings, read against the sheet's key."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_monitor.errors import DatasetError
from edge_monitor.evaluate.sheet import KEY_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

COLUMNS = ("rater", "item", "slot", "rating")
_LOWEST, _HIGHEST = 1, 5


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
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"left out: cannot be read: {error.strerror}", where=str(path)) from error
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
    if row["rating"] not in {str(value) for value in range(_LOWEST, _HIGHEST + 1)}:
        raise ValueError(f"rating {row['rating']!r} is not {_LOWEST} to {_HIGHEST}")
    return Rating(row["rater"], row["item"], item.machine, item.machine_id, method, int(row["rating"]))
