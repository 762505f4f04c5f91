"""The measured difference between an anomalous window and its nearest normals, in figures and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_monitor.errors import ExplainError
from edge_monitor.explain.comparison import comparison
from edge_monitor.explain.counterparts import counterparts
from edge_monitor.explain.findings import find, rounded
from edge_monitor.explain.sentence import sentence
from edge_monitor.explain.spread import Spread, spread_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.records import Finding

__all__ = ["Difference", "Spread", "compare", "spread_of"]

_STANDS_OUT = 1.0
_FAINT = 0.05  # below, there is no largest difference worth a word


@dataclass(frozen=True, slots=True)
class Difference:
    """What stands out of a window against its nearest normals."""

    findings: tuple[Finding, ...]  # largest first; empty: nothing stands out
    sentence: str  # one or two plain sentences with figures and units
    counterparts: dict[str, float | None]  # of each reference text: signed, 0 = as normal, 1 = just stands out


def compare(anomaly: Acoustics, neighbours: Sequence[Acoustics], normals: Sequence[Acoustics] | Spread) -> Difference:
    """Return how a window differs from the median of its nearest normals, over the spread of all normals.

    `normals` are all of the machine's; their `spread_of` saves the work from one alarm to the next.
    Raises ExplainError for fewer than five normals, no neighbours, or figures measured at different rates.
    """
    if not neighbours:
        raise ExplainError("no nearest normals to compare with")
    spread = normals if isinstance(normals, Spread) else spread_of(normals)
    compared = comparison(anomaly, neighbours, spread)
    findings = tuple(rounded(finding) for finding in find(compared, _STANDS_OUT))
    largest = None
    if not findings:
        most = float(abs(compared.deviation).max())
        fainter = (find(compared, most * part) for part in (1.0, 0.7, 0.4) if most > _FAINT)
        largest = next((found[0] for found in fainter if found), None)
    return Difference(findings, sentence(findings, largest), counterparts(compared))
