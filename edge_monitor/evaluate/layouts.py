"""How published data sets say what their clips are: in names, and the SNR in an optional `index.tsv` at the root."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_monitor.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path, PurePath

Split = Literal["train", "test"]
INDEX = "index.tsv"

# DCASE 2020 Task 2: pump/test/anomaly_id_00_00000013.wav
_DCASE_2020 = re.compile(r"(normal|anomaly)_(id_\w+?)_.*")
# DCASE 2021 to 2025 Task 2: pump/source_test/section_00_source_test_normal_0007.wav, with attributes after the number
_SECTIONS = re.compile(r"(section_\d+)_(?:source|target)_(train|test)_(normal|anomaly)(?:_.*)?")
# MIMII: -6_dB_pump/pump/id_00/abnormal/00000013.wav; its baseline's own script unpacks into min6dB, 0dB and 6dB
_ID = re.compile(r"id_\w+")
_SNR = re.compile(r"(-|min)?(\d+)_?dB(?:_.*)?", re.IGNORECASE)
_DEPTH = 3  # folders above a MIMII clip: machine, id, class
_COLUMNS = _FILE, _SNR_DB = "file", "snr_db"  # of the index, that are read; there may be others


@dataclass(frozen=True, slots=True)
class ClipName:
    """What a clip's path says of it."""

    machine: str  # `pump`
    machine_id: str  # `id_00` or `section_00`
    anomalous: bool
    split: Split | None  # None: the layout has no split
    snr_db: float | None = None  # of the machine over the factory's noise


def read_name(path: PurePath) -> ClipName | None:
    """Return what the path of a sound file says; None when it is named like no known data set's clip."""
    folders = path.parent.parts
    if len(folders) > 1 and (match := _SECTIONS.fullmatch(path.stem)):
        section, split, label = match.groups()
        return ClipName(folders[-2], section, label == "anomaly", "train" if split == "train" else "test")
    if len(folders) > 1 and (match := _DCASE_2020.fullmatch(path.stem)) and folders[-1] in {"train", "test"}:
        return ClipName(folders[-2], match[2], match[1] == "anomaly", "train" if folders[-1] == "train" else "test")
    if len(folders) >= _DEPTH and folders[-1] in {"normal", "abnormal"} and _ID.fullmatch(folders[-2]):
        return ClipName(folders[-3], folders[-2], folders[-1] == "abnormal", None, snr_db=_snr_db(folders[:-3]))
    return None


def _snr_db(folders: tuple[str, ...]) -> float | None:
    """Return the SNR that the innermost folder named after one gives, dB."""
    for folder in reversed(folders):
        if match := _SNR.fullmatch(folder):
            return float(match[2]) * (-1.0 if match[1] else 1.0)
    return None


def read_stated_snr(root: Path) -> dict[Path, float]:
    """Return the SNR of clips by their paths, dB; none when there is no such file. An empty cell states nothing.

    Raises DatasetError when it cannot be read.
    """
    path = root / INDEX
    stated: dict[Path, float] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if not set(_COLUMNS) <= set(table.fieldnames or ()):
                raise DatasetError(f"no columns {_FILE} and {_SNR_DB}", where=INDEX)
            for row in table:
                if row[_FILE] and row[_SNR_DB]:
                    stated[root / row[_FILE]] = _decibels(row[_SNR_DB], table.line_num)
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
        raise DatasetError(f"line {line}: {_SNR_DB} is {text!r}, no number of decibels", where=INDEX)
    return snr_db
