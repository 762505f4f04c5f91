"""What an optional `index.tsv` at a data set's root says of its clips: the SNR, where names do not."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

from edge_monitor.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "index.tsv"
_FILE, _SNR = "file", "snr_db"  # columns that are read; there may be others


def read_stated_snr(root: Path) -> dict[Path, float]:
    """Return the SNR of clips by their paths, dB; none when there is no such file. An empty cell states nothing.

    Raises DatasetError when it cannot be read.
    """
    path = root / INDEX
    stated: dict[Path, float] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if not {_FILE, _SNR} <= set(table.fieldnames or ()):
                raise DatasetError(f"no columns {_FILE} and {_SNR}", where=INDEX)
            for row in table:
                if row[_FILE] and row[_SNR]:
                    stated[root / row[_FILE]] = _decibels(row[_SNR], table.line_num)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=INDEX) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError("is not a table in UTF-8", where=INDEX) from error
    return stated


def _decibels(text: str, line: int) -> float:
    try:
        snr_db = float(text)
    except ValueError:
        snr_db = math.nan
    if not math.isfinite(snr_db):
        raise DatasetError(f"line {line}: {_SNR} is {text!r}, no number of decibels", where=INDEX)
    return snr_db
