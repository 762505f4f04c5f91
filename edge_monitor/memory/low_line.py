"""The low line: what most windows of an hour stay below while the machine is healthy, by how much was learnt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_monitor.memory.chance import student_quantile

if TYPE_CHECKING:
    from edge_monitor.memory.tail import TailFit

MIN_BLOCKS = 5  # independent stretches of normal sound: fewer say nothing about how much sessions differ
# How far the level of one session is from another's, in spreads of the window scores; measured between flights of a
# drone 0.3 to 0.7.
SESSION = 0.5
P = 0.01  # the share of sessions whose windows would falsely lie above the line
_SHARE_BELOW = 0.84  # spreads above which LOW_LINE_SHARE of a normal distribution's values lie, with the sign turned


def low_line(fit: TailFit, p: float = P) -> float | None:
    """Return the line for a fit of log scores, > 0, in the score's unit; None where too few blocks are known.

    The 20 % quantile of a new session's windows lies above it with probability p: its centre is as uncertain as B
    stretches leave it, and sessions differ by SESSION spreads.
    """
    if fit.blocks < MIN_BLOCKS:
        return None
    uncertain = math.sqrt(1 / fit.blocks + SESSION**2)
    return math.exp(fit.centre + fit.spread * (student_quantile(p, fit.dof) * uncertain - _SHARE_BELOW))
