"""Labelled clips of one machine, scored by what a node has learnt: the best threshold, and what another would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.errors import AudioError, DatasetError
from edge_monitor.evaluate.datasets import read_dataset
from edge_monitor.evaluate.roc import auc, nearest_to_corner, operating_point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.evaluate.datasets import Individual
    from edge_monitor.evaluate.learnt import ClipEncoder
    from edge_monitor.evaluate.roc import OperatingPoint
    from edge_monitor.records import Vector

    Scores = NDArray[np.float64]


def find_individual(dataset: Path, label: str | None) -> tuple[Individual, tuple[str, ...]]:
    """Return the machine of a data set whose label is given, or the only one, and what is wrong with the data set.

    Raises DatasetError when it is not there, or there are several and none was named.
    """
    found = read_dataset(dataset)
    if not found.individuals:
        raise DatasetError("no clip can be used", where=str(dataset), hint="; ".join(found.warnings))
    labels = ", ".join(each.label for each in found.individuals)
    chosen = [each for each in found.individuals if label in (None, each.label, each.machine_id)]
    if not chosen:
        raise DatasetError(f"no machine is {label!r}", where=str(dataset), hint=f"it has {labels}")
    if len(chosen) > 1:
        raise DatasetError("several machines", where=str(dataset), hint=f"choose one with --id: {labels}")
    return chosen[0], tuple(line for line in found.warnings if "training clips" not in line)


def score(
    individual: Individual, clip_encoder: ClipEncoder, score_windows: Callable[[Sequence[Vector]], Sequence[float]]
) -> tuple[Scores, Scores, list[str]]:
    """Return the scores of the normal and of the anomalous test clips, (n,) and (m,), and which could not be heard.

    A clip's score is the mean over its windows; `score_windows` is asked once, for all. Raises DatasetError when a
    class has no clip that can be heard.
    """
    heard: list[tuple[bool, list[Vector]]] = []  # of each clip: anomalous, its windows
    unheard: list[str] = []
    for clip in individual.test:
        try:
            heard.append((clip.anomalous, [window.embedding.vector for window in clip_encoder.encode(clip)]))
        except AudioError as error:
            unheard.append(str(error))
    for kind, anomalous in (("normal", False), ("anomalous", True)):
        if all(each != anomalous for each, _ in heard):
            raise DatasetError(f"no {kind} test clip can be heard", where=individual.label)
    windows = iter(score_windows([vector for _, vectors in heard for vector in vectors]))
    scores = [(anomalous, float(np.mean([next(windows) for _ in vectors]))) for anomalous, vectors in heard]
    normal, anomalies = (np.array([score for each, score in scores if each is kind]) for kind in (False, True))
    return normal, anomalies, unheard


def compare(individual: Individual, normal: Scores, anomalous: Scores, threshold: float) -> dict[str, Any]:
    """Return as plain JSON types what the ROC point nearest (0, 1) does to clips' scores, and a threshold beside it."""
    return {
        "id": individual.label,
        "normal_clips": len(normal),
        "anomalous_clips": len(anomalous),
        "auc": 100 * auc(normal, anomalous),
        **_point(nearest_to_corner(normal, anomalous)),
        "normal_only": _point(operating_point(normal, anomalous, threshold)),
    }


def _point(point: OperatingPoint) -> dict[str, float]:
    return {
        "threshold": point.threshold,
        "false_alarm_percent": 100 * point.false_alarm,
        "miss_percent": 100 * point.miss,
    }
