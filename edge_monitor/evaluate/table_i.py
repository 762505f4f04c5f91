"""Table I of the paper: AUC of four detectors on the DCASE 2020 Task 2 development set, percent. Numbers only.

Source: the paper on retrieval-augmented difference captioning for unsupervised anomalous sound detection, Table I.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

COLUMNS = ("Autoencoder", "PANNs", "LAION-CLAP", "MS-CLAP")
Figures = tuple[float, float, float, float]  # one for each of COLUMNS

AUC: dict[str, dict[str, Figures]] = {
    "ToyCar": {
        "01": (81.36, 80.04, 76.94, 75.68),
        "02": (85.97, 85.92, 84.11, 80.99),
        "03": (63.30, 69.98, 64.76, 65.42),
        "04": (84.45, 89.42, 85.53, 83.57),
    },
    "ToyConveyor": {
        "01": (78.07, 61.65, 63.14, 63.42),
        "02": (64.16, 56.45, 55.78, 59.23),
        "03": (75.35, 60.24, 58.28, 59.65),
    },
    "Fan": {
        "00": (54.41, 50.63, 53.87, 51.91),
        "02": (73.40, 60.25, 65.21, 61.89),
        "04": (61.61, 45.77, 47.78, 46.88),
        "06": (73.92, 75.21, 74.40, 67.96),
    },
    "Pump": {
        "00": (67.15, 81.92, 87.40, 84.22),
        "02": (61.53, 68.23, 89.13, 92.49),
        "04": (88.33, 77.71, 83.27, 80.39),
        "06": (74.55, 56.83, 62.78, 58.83),
    },
    "Slider": {
        "00": (96.19, 99.89, 99.98, 99.25),
        "02": (78.97, 88.58, 91.25, 93.87),
        "04": (94.30, 86.51, 79.21, 80.46),
        "06": (69.59, 57.31, 61.99, 71.28),
    },
    "Valve": {
        "00": (68.76, 84.38, 91.07, 80.53),
        "02": (68.18, 79.89, 79.39, 76.61),
        "04": (74.30, 79.26, 80.80, 81.45),
        "06": (53.90, 69.53, 64.22, 70.23),
    },
}

# As printed: the mean over a machine's ids, and over the six machines. They follow from the cells above within 0.01.
AVERAGE: dict[str, Figures] = {
    "ToyCar": (78.77, 81.34, 77.84, 76.42),
    "ToyConveyor": (72.53, 59.45, 59.07, 60.77),
    "Fan": (65.83, 57.97, 60.32, 57.16),
    "Pump": (72.89, 71.17, 80.64, 78.98),
    "Slider": (84.76, 83.07, 83.11, 86.22),
    "Valve": (66.28, 78.26, 78.87, 77.21),
}
OVERALL: Figures = (73.51, 71.88, 73.30, 72.79)

# The one cell our copy of the paper lacks; it follows from the printed average of Fan.
DERIVED = ("Fan", "00", "MS-CLAP")

# Training and test clips of the development set, all ids of a machine together: Koizumi et al., DCASE Workshop 2020.
# For the four machines of MIMII they follow from its numbers (Purohit et al., DCASE Workshop 2019): 100 normal clips
# and all anomalies of each id are tested.
CLIPS: dict[str, tuple[int, int]] = {
    "ToyCar": (4000, 2459),
    "ToyConveyor": (3000, 3509),
    "Fan": (3675, 1875),
    "Pump": (3349, 856),
    "Slider": (2804, 1290),
    "Valve": (3291, 879),
}

_NAMES = {name.casefold(): name for name in AUC}


def machine_of(machine: str) -> str | None:
    """Return the table's name of a data set's machine: `Fan` for `fan`; None when it has no such machine."""
    return _NAMES.get(machine.casefold())


def figures_of(machine: str, machine_id: str) -> Figures | None:
    """Return the table's row for a data set's machine id (`fan`, `id_00`); None when it has none."""
    name = machine_of(machine)
    return None if name is None else AUC[name].get(machine_id.removeprefix("id_"))


def average_of(machine: str, ids: Collection[str]) -> Figures | None:
    """Return the printed average of a data set's machine; None unless it has the table's ids: it is of those."""
    name = machine_of(machine)
    here = {machine_id.removeprefix("id_") for machine_id in ids}
    return AVERAGE[name] if name is not None and here == set(AUC[name]) else None


def overall_of(ids: Mapping[str, Collection[str]]) -> Figures | None:
    """Return the printed overall average, given the ids of each of a data set's machines; None unless all are here."""
    whole = {machine_of(machine) for machine in ids} == set(AUC)
    return OVERALL if whole and all(average_of(*each) for each in ids.items()) else None


def differences(clips: Mapping[str, tuple[int, int]], *, own_split: bool) -> tuple[str, ...]:
    """Return in what a data set is not the development set; empty: it may be.

    `clips` are the numbers of training and of test clips that were measured, by the data set's machine names; without
    its own split only their sum is compared.
    """
    here = {machine_of(machine) or machine: counts for machine, counts in clips.items()}
    lines = []
    if missing := [machine for machine in CLIPS if machine not in here]:
        lines.append(f"without {', '.join(missing)}")
    if other := [machine for machine in here if machine not in CLIPS]:
        lines.append(f"with {', '.join(other)}")
    for machine, (train, test) in here.items():
        if machine not in CLIPS:
            continue
        if sum(CLIPS[machine]) != train + test:
            lines.append(f"{machine} has {train + test} clips, there {sum(CLIPS[machine])}")
        elif own_split and CLIPS[machine] != (train, test):
            lines.append(f"{machine} has {train} training clips, there {CLIPS[machine][0]}")
    return tuple(lines)
