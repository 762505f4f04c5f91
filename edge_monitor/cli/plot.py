"""A plot in the terminal: bars over time with a line across them, in block characters or in ASCII."""

from __future__ import annotations

import math
import shutil
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCKS, _BLOCK_LINE = " ▁▂▃▄▅▆▇█", "┈"
_ASCII, _ASCII_LINE = " .:#", "-"  # where the output's encoding has no blocks
_ROWS = 8
_LABEL = 6  # columns left of the bars
_MOST_COLUMNS = 100
_HEADROOM = 1.1  # above the line


def width() -> int:
    """Return how many columns a plot may have: the terminal's, 80 where there is none, at most 100."""
    return min(shutil.get_terminal_size().columns, _MOST_COLUMNS)


def unicode_wanted() -> bool:
    """Return whether standard output can show block characters."""
    try:
        (_BLOCKS + _BLOCK_LINE).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def plotted(
    moments: Sequence[float], values: Sequence[float], *, line: float, columns: int, blocks: bool
) -> tuple[str, ...]:
    """Return the lines of a plot of values >= 0 at ascending moments, with a horizontal line at `line`.

    A bar is the highest value of its stretch of time; a stretch without values is empty. There is at least one value.
    """
    cells, rule = (_BLOCKS, _BLOCK_LINE) if blocks else (_ASCII, _ASCII_LINE)
    steps, top = len(cells) - 1, max(*values, _HEADROOM * line)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    step = min(gaps, default=1.0)
    bars = max(min(columns - _LABEL, 1 + round(sum(gaps) / step)), 1)
    heights = [math.nan] * bars
    for moment, value in zip(moments, values, strict=True):
        bar = min(int(bars * (moment - moments[0] + step / 2) / (sum(gaps) + step)), bars - 1)
        heights[bar] = max(value, heights[bar]) if heights[bar] >= 0 else value
    ruled = min(int(_ROWS * line / top), _ROWS - 1)  # the row, from the bottom, through which the line goes
    lines = []
    for row in reversed(range(_ROWS)):
        label = f"{line:5.2f} " if row == ruled else f"{top:5.2f} " if row == _ROWS - 1 else " " * _LABEL
        filled = (0 if math.isnan(height) else round(steps * (_ROWS * height / top - row)) for height in heights)
        marks = (cells[min(max(each, 0), steps)] for each in filled)
        lines.append((label + "".join(rule if mark == " " and row == ruled else mark for mark in marks)).rstrip())
    return tuple(lines)
