"""Marks on a picture: which bands and times a finding speaks of, with a number that leads to its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.explain.canvas import FAINT, INK, LEFT_X, PLOT_HEIGHT, PLOT_WIDTH, TOP, WIDTH, height_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.ImageDraw import ImageDraw

    from edge_monitor.explain.spectrogram import CompactSpectrogram
    from edge_monitor.records import Finding

_MOST = 3  # findings that are marked; more would hide the sound
_LINE_HEIGHT = 24
_LEAST_HEIGHT = 9  # of a bracket: a tone's band is narrower than the lines around it
_COLUMN = 17  # of a bracket and its number; overlapping ones stand side by side
_WHITE = (255, 255, 255)
_JOINED = 3  # pixels: times closer than this are one


def mark(
    pen: ImageDraw, left: int, spectrogram: CompactSpectrogram, findings: Sequence[Finding], *, times: bool
) -> None:
    """Mark the first findings on a plot: a numbered bracket at each band; with `times`, bars over when it is heard.

    Black on white on black, so that it can be read on every level and when printed grey.
    """
    taken: list[list[tuple[int, int]]] = [[] for _ in range(_MOST)]  # rows used by the brackets of each column
    for number, finding in enumerate(findings[:_MOST], start=1):
        if finding.band_hz is None and not (times and finding.times_s):
            continue
        top, bottom = _rows(spectrogram, finding.band_hz)
        if finding.band_hz is not None:
            column = next(i for i, rows in enumerate(taken) if all(bottom < a or b < top for a, b in rows))
            taken[column].append((top - _LINE_HEIGHT // 2, bottom + _LINE_HEIGHT // 2))
            _bracket(pen, left + PLOT_WIDTH + 3 + column * _COLUMN, top, bottom, number)
            for y in {top, bottom}:
                _dots(pen, left, y)
        if times:
            if finding.band_hz is None:
                write(pen, (left + PLOT_WIDTH + 4 + (number - 1) * _COLUMN, top), str(number), 13, anchor="lm")
            for start, end in _columns(finding.times_s, spectrogram.seconds):
                pen.rectangle([left + start - 1, top - 3, left + end + 1, top + 3], fill=INK)
                pen.line([(left + start, top), (left + end, top)], fill=_WHITE, width=5)


def height_of_list(findings: Sequence[Finding]) -> int:
    """Return how many pixels `list_findings` needs below its `y`."""
    return _LINE_HEIGHT * min(len(findings), _MOST + 1) + (_LINE_HEIGHT // 2 if findings else 0)


def list_findings(pen: ImageDraw, findings: Sequence[Finding], y: int) -> None:
    """Write the first findings below the plots, each with its number."""
    for number, finding in enumerate(findings[:_MOST], start=1):
        write(pen, (LEFT_X, y), str(number), 15)
        write(pen, (LEFT_X + 18, y), finding.text, 15, width=WIDTH - LEFT_X - 40)
        y += _LINE_HEIGHT
    if len(findings) > _MOST:
        write(pen, (LEFT_X + 18, y), f"and {len(findings) - _MOST} more", 13, FAINT)


def _rows(spectrogram: CompactSpectrogram, band_hz: tuple[float, float] | None) -> tuple[int, int]:
    """Return the first and the last pixel row of a band, at least _LEAST_HEIGHT apart and inside the plot."""
    low, high = (0.0, 1.0) if band_hz is None else (height_of(spectrogram, freq_hz) for freq_hz in band_hz)
    top, bottom = ((1.0 - min(max(share, 0.0), 1.0)) * (PLOT_HEIGHT - 1) for share in (high, low))
    missing = max(0.0, _LEAST_HEIGHT - (bottom - top)) / 2
    top = min(max(0.0, top - missing), PLOT_HEIGHT - 1 - _LEAST_HEIGHT)
    bottom = max(min(PLOT_HEIGHT - 1.0, bottom + missing), _LEAST_HEIGHT)
    return TOP + round(top), TOP + round(bottom)


def _columns(times_s: Sequence[tuple[float, float]], seconds: float) -> Iterator[tuple[int, int]]:
    """Yield the first and the last pixel column of each time, those that touch as one."""
    spans = sorted(
        (round(max(start_s, 0.0) / seconds * (PLOT_WIDTH - 1)), round(min(end_s / seconds, 1.0) * (PLOT_WIDTH - 1)))
        for start_s, end_s in times_s
        if start_s < seconds and end_s > 0.0
    )
    if not spans:
        return
    first, last = spans[0]
    for start, end in spans[1:]:
        if start > last + _JOINED:
            yield first, last
            first = start
        last = max(last, end)
    yield first, last


def _bracket(pen: ImageDraw, x: int, top: int, bottom: int, number: int) -> None:
    pen.line([(x, top), (x + 4, top), (x + 4, bottom), (x, bottom)], fill=INK, width=2)
    write(pen, (x + 8, (top + bottom) / 2), str(number), 13, anchor="lm")


def _dots(pen: ImageDraw, left: int, y: int) -> None:
    for x in range(left, left + PLOT_WIDTH - 4, 12):
        pen.line([(x, y), (x + 5, y)], fill=INK, width=1)
        pen.line([(x, y - 1), (x + 5, y - 1)], fill=_WHITE, width=1)
