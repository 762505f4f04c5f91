"""A healthy sound unlike all others: a fault that was learnt, or a way of running that was heard once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.memory.leaveout import Layout

# Times the next block's score. Of the 8 MIMII machine ids (7 to 18 clips of 10 s) one has such a clip, 2.7 times, and
# its threshold lets every anomaly pass; the others' highest are 1.1 to 1.9 times the next.
STANDS_OUT = 2.0
RAISES = 1.2  # how many times higher a threshold must be for it to be worth a word


@dataclass(frozen=True, slots=True)
class OddSound:
    """Where it is, and how far it stands out."""

    recording: int  # the recording's id, as `edge-monitor normals list` shows it
    start_s: float  # in the recording
    score: float
    next_score: float  # the highest of all other blocks
    threshold_without: float  # what the others alone would give

    def caution(self, machine: str) -> str:
        """Return one line that says what to do."""
        return (
            f"Caution: the sound of recording #{self.recording} at {self.start_s:.0f} s scores {self.score:.4g}, the "
            f"next {self.next_score:.4g}; without it the threshold would be about {self.threshold_without:.4g}. If the "
            f"machine was not healthy then, `edge-monitor normals remove --machine {machine} '#{self.recording}'`; "
            "else enrol more sound like it."
        )


def standing_out(score: NDArray[np.float64], layout: Layout) -> tuple[int, NDArray[np.bool_]] | None:
    """Return which of n normals stands out by its leave-block-out score (n,), and which are other blocks' (n,).

    None when none scores STANDS_OUT times the highest of the other blocks.
    """
    unit = layout.unit
    highest = int(np.argmax(score))
    others = np.asarray(unit != unit[highest])
    if not others.any() or score[highest] < STANDS_OUT * score[others].max():
        return None
    return highest, others
