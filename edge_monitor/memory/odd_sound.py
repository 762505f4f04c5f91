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


@dataclass(frozen=True, slots=True)
class OddSound:
    """Where it is, and how far it stands out."""

    recording: int  # the recording's id, as `edge-monitor normals list` shows it
    start_s: float  # in the recording
    score: float
    next_score: float  # the highest of all other blocks

    def caution(self) -> str:
        """Return one line that says what to do."""
        return (
            f"Caution: the sound of recording #{self.recording} at {self.start_s:.0f} s scores {self.score:.4g}, the "
            f"next {self.next_score:.4g}: it raises the threshold for all others. Take it out if the machine was not "
            f'healthy then (`edge-monitor normals remove "#{self.recording}"`), else enrol more sound like it.'
        )


def odd_sound(score: NDArray[np.float64], layout: Layout) -> OddSound | None:
    """Return the sound whose leave-block-out score stands out; `score` (n,) of the n normals in `layout`."""
    unit = layout.unit
    highest = int(np.argmax(score))
    others = score[unit != unit[highest]]
    if not others.size or score[highest] < STANDS_OUT * others.max():
        return None
    recording, start_s = int(layout.recording[highest]), float(layout.start_s[highest])
    return OddSound(recording, start_s, float(score[highest]), float(others.max()))
