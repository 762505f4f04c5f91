"""Whether enough normal sound has been heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.memory.leaveout import LeftOut

MIN_BLOCKS = 12  # fewer say too little about the spread: Student-t bounds at 1 % lie over 25 % wider than the normal's
# Scores that fall by this much when the memory doubles are still falling.
STILL_LEARNING = 1.10


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much normal sound there is."""

    enough: bool
    sentence: str  # one line for a person


def assess(left_out: LeftOut, unit: NDArray[np.int64]) -> Coverage:
    """Return how much there is, for n leave-block-out scores from blocks `unit`, (n,).

    Two questions: are there enough independent blocks, and do scores still fall as the memory grows (the learning
    curve's last doubling: the distances with half the blocks forgotten over those with all).
    """
    blocks = int(unit.max()) + 1
    if blocks < MIN_BLOCKS:
        found = f"{blocks} independent blocks (files, or 30 s of a longer one), at least {MIN_BLOCKS} are advised"
        return Coverage(enough=False, sentence=f"More normal sound is needed: {found}.")
    known = np.isfinite(left_out.halved) & (left_out.near > 0)
    gain = float(np.median(left_out.halved[known] / left_out.near[known])) if known.any() else float("inf")
    if gain > STILL_LEARNING:
        found = f"with half of it forgotten healthy windows look {100 * (gain - 1):.0f} % more unusual"
        return Coverage(enough=False, sentence=f"More normal sound would help: {found}, so new ones still do.")
    found = f"forgetting half of them makes healthy windows look only {max(0.0, 100 * (gain - 1)):.0f} % more unusual"
    return Coverage(enough=True, sentence=f"Enough normal sound: {blocks} independent blocks, and {found}.")
