"""A row of the table: what was measured, beside what, and the ratio of the two; or why it was not measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.pairs import Ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


class NotMeasuredError(Exception):
    """Says what this box lacks for a measurement."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line. Where `missing` is set, the figures are None."""

    what: str  # the same words in every run: a result is compared with the last one by them
    value: float | None = None  # ours, in `unit`
    unit: str = ""
    beside: str = ""  # what stands beside it
    beside_value: float | None = None  # in `unit`
    ratio: Ratio | None = None  # above 1: ours is cheaper
    note: str = ""
    missing: str = ""  # why there is no figure

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Row:
        """Return a row that `asdict` had taken apart."""
        ratio = fields.get("ratio")
        return cls(**{**fields, "ratio": Ratio(**ratio) if ratio else None})


def cost_row(  # one row, all of it
    what: str, ours: ArrayLike, beside: str, theirs: ArrayLike, *, unit: str, scale: float = 1.0, note: str = ""
) -> Row:
    """Return the row of two costs (n,) that were measured in pairs; `scale` turns them into `unit`."""
    mine, other = scale * np.asarray(ours, dtype=np.float64), scale * np.asarray(theirs, dtype=np.float64)
    return Row(what, float(np.median(mine)), unit, beside, float(np.median(other)), Ratio.of(other, mine), note)


def markdown(rows: Sequence[Row], last: Sequence[Row] = ()) -> str:
    """Return the table; `last` are the rows of the result to compare with."""
    before = {row.what: row for row in last if not row.missing}
    lines = [
        "| measured | here | beside | times cheaper (95 % interval; pairs) | last time |",
        "|---|--:|---|--:|--:|",
    ]
    for row in rows:
        then = before.get(row.what)
        last_time = "" if then is None else " at ".join(filter(None, (_times(then), _figure(then.value, then.unit))))
        if row.missing:
            lines.append(f"| {row.what} | not measured: {row.missing} | | | {last_time} |")
            continue
        beside = f"{row.beside}: {_figure(row.beside_value, row.unit)}" if row.beside else ""
        what = f"{row.what} ({row.note})" if row.note else row.what
        lines.append(f"| {what} | {_figure(row.value, row.unit)} | {beside} | {_spread(row.ratio)} | {last_time} |")
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as JSON's own types."""
    return [asdict(row) for row in rows]


def _spread(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    median = _digits(ratio.median)
    return median if ratio.pairs == 1 else f"{median} ({_digits(ratio.low)} to {_digits(ratio.high)}; {ratio.pairs})"


def _times(row: Row) -> str:
    return f"{_digits(row.ratio.median)} x" if row.ratio else ""


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    """Return a number with three figures."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
