"""The clips of a machine id that are measured: those that every detector heard, each sound once; pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from edge_monitor.evaluate.datasets import surplus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_monitor.evaluate.datasets import Clip, Individual
    from edge_monitor.evaluate.detector import Features

    Tell = Callable[[str], None]
    FeaturesByPath = Mapping[Path, Features]


def share(
    one: Individual,
    heard: Mapping[str, FeaturesByPath],
    names: Mapping[str, str],
    complain: Tell,
    *,
    resplit: bool,
    root: Path,
) -> dict[str, FeaturesByPath]:
    """Return what each detector heard of the clips that all of them heard; what is left out is complained of.

    Detectors are told apart by their keys; `names` is for a person. One that heard nothing of a class takes no part
    and hinders nobody. The same sound in two encodings has the same features: it counts once, as the same bytes do.
    """
    able = [key for key in heard if _hears(one, heard[key], names[key], complain, resplit=resplit)]
    if not able:
        return {}
    groups: dict[tuple[str, ...], list[Clip]] = defaultdict(list)  # by what was heard
    for clip in (*one.train, *one.test):
        deaf = [names[key] for key in able if clip.path not in heard[key]]
        if not deaf:
            groups[tuple(heard[key][clip.path].digest for key in able)].append(clip)
        elif len(deaf) < len(able):  # a clip that none can hear was named when it was heard
            complain(f"{clip.path.relative_to(root)}: left out for all: not heard by {', '.join(deaf)}")
    kept: list[Path] = []
    for group in groups.values():
        others, lines = surplus(group, root)
        for line in lines:
            complain(line)
        kept += [clip.path for clip in group if clip not in others]
    return {key: {path: heard[key][path] for path in kept} for key in able}


def _hears(one: Individual, heard: FeaturesByPath, name: str, complain: Tell, *, resplit: bool) -> bool:
    """Return whether a detector heard something of each class that the machine id has."""
    normal, anomalous = one.tested(anomalous=False), one.tested(anomalous=True)
    classes: dict[str, Sequence[Clip]] = {"training": one.train, "normal test": normal, "anomalous test": anomalous}
    if resplit:
        classes = {"normal": [*one.train, *normal], "anomalous": anomalous}
    missing = [kind for kind, clips in classes.items() if clips and not any(clip.path in heard for clip in clips)]
    for kind in missing:
        complain(f"{one.label}: no {kind} clip can be heard by {name}")
    return not missing
