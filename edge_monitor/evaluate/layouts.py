"""How published data sets name their clips; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import PurePath

Split = Literal["train", "test"]
Domain = Literal["source", "target"]

# DCASE 2020 Task 2: pump/test/anomaly_id_00_00000013.wav
_DCASE_2020 = re.compile(r"(normal|anomaly)_(id_\w+?)_.*")
# DCASE 2021 to 2025 Task 2: pump/source_test/section_00_source_test_normal_0007.wav, with attributes after the number
_SECTIONS = re.compile(r"(section_\d+)_(source|target)_(train|test)_(normal|anomaly)(?:_.*)?")
# MIMII: -6_dB_pump/pump/id_00/abnormal/00000013.wav; its baseline's own script unpacks into min6dB, 0dB and 6dB
_ID = re.compile(r"id_\w+")
_SNR = re.compile(r"(-|min)?(\d+)_?dB(?:_.*)?", re.IGNORECASE)
_DEPTH = 3  # folders above a MIMII clip: machine, id, class


@dataclass(frozen=True, slots=True)
class ClipName:
    """What a clip's path says of it."""

    machine: str  # `pump`
    machine_id: str  # `id_00` or `section_00`
    anomalous: bool
    split: Split | None  # None: the layout has no split
    domain: Domain | None = None
    snr_db: float | None = None  # of the machine over the factory's noise


def read_name(path: PurePath) -> ClipName | None:
    """Return what the path of a sound file says; None when it is named like no known data set's clip."""
    folders = path.parent.parts
    if len(folders) > 1 and (match := _SECTIONS.fullmatch(path.stem)):
        section, domain, split, label = match.groups()
        return ClipName(
            machine=folders[-2],
            machine_id=section,
            anomalous=label == "anomaly",
            split="train" if split == "train" else "test",
            domain="source" if domain == "source" else "target",
        )
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
