"""ROC curves, score histograms and other lines as SVG elements, drawn without a library; pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.evaluate.roc import roc_curve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_monitor.evaluate.figures import Curve

# Okabe & Ito, Color Universal Design, 2008: told apart by colour-blind people too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_SIDE, _LEFT, _TOP, _BOTTOM = 200, 38, 10, 34  # of the drawing area and its margins, pixels
_WIDE = 260  # of a histogram
_BROAD = 420  # of lines with their legend
_BINS = 24
_ROW = 16  # of a legend, pixels


def standalone(drawing: str) -> str:
    """Return an `<svg>` as a file of its own."""
    return drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def colour(position: int) -> str:
    """Return the colour of the detector at a position, from 0; they repeat."""
    return COLOURS[position % len(COLOURS)]


def draw_roc(title: str, curves: Mapping[str, tuple[str, Curve]]) -> str:
    """Return an `<svg>` with the ROC curve of each detector: name -> (colour, curve).

    A ring is the point nearest to (0, 1), a square the threshold from the normals alone.
    """
    parts = [
        _axes(_SIDE, "false alarms", "0", "1"),
        _text(_LEFT - 6, _TOP + 8, "1", "end"),
        _text(_LEFT - 6, _TOP + _SIDE, "0", "end"),
        _upright("hits"),
        f'<path d="M{_LEFT} {_TOP + _SIDE}L{_LEFT + _SIDE} {_TOP}" stroke="#999" stroke-dasharray="3 4"/>',
    ]
    for number, (name, (stroke, curve)) in enumerate(curves.items()):
        parts.append(_text(_LEFT + _SIDE - 6, _TOP + _SIDE - 8 - 13 * number, name, "end", stroke))
        roc = roc_curve(curve.normal, curve.anomalous)
        line = " ".join(_place(x, y) for x, y in zip(roc.false_alarm, roc.hit, strict=True))
        label = f"<title>{escape(name)}</title>"
        parts.append(f'<polyline points="{line}" fill="none" stroke="{stroke}" stroke-width="2">{label}</polyline>')
        best, own = curve.best, curve.own
        x, y = _place(best.false_alarm, 1 - best.miss).split(",")
        parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="#fff" stroke="{stroke}" stroke-width="2"/>')
        if own is not None:
            x, y = _place(own.false_alarm, 1 - own.miss, shift=-4).split(",")
            parts.append(f'<rect x="{x}" y="{y}" width="8" height="8" fill="{stroke}" stroke="#fff"/>')
    return _svg(f"ROC of {title}", _SIDE, parts)


def draw_histogram(title: str, curve: Curve) -> str:
    """Return an `<svg>` with the scores of normal clips above the line and of anomalous ones below it.

    A dashed line is the threshold nearest to (0, 1), a solid one that from the normals alone.
    """
    best, own = curve.best.threshold, curve.threshold
    every = np.concatenate([curve.normal, curve.anomalous, [] if own is None else [own]])
    low, high = float(every.min()), float(every.max())
    high = high if high > low else low + 1.0
    middle = _TOP + _SIDE / 2
    parts = [_axes(_WIDE, "score", f"{low:.3g}", f"{high:.3g}"), _upright("share of clips")]
    halves = ((curve.normal, COLOURS[0], "normal", False), (curve.anomalous, COLOURS[1], "anomalous", True))
    for scores, fill, name, down in halves:
        share = np.histogram(scores, _BINS, (low, high))[0] / len(scores)  # (bins,)
        tall = share / max(float(share.max()), 1e-12) * (_SIDE / 2 - 14)
        width = _WIDE / _BINS
        parts += [
            f'<rect x="{_LEFT + number * width:.1f}" y="{middle if down else middle - height:.1f}" '
            f'width="{width - 1:.1f}" height="{height:.1f}" fill="{fill}"/>'
            for number, height in enumerate(tall)
            if height
        ]
        parts.append(_text(_LEFT + _WIDE - 4, _TOP + (_SIDE - 4 if down else 12), f"{len(scores)} {name}", "end", fill))
    parts.append(f'<path d="M{_LEFT} {middle}h{_WIDE}" stroke="#333"/>')
    for threshold, dash in ((best, "5 4"), (own, "none")):
        if threshold is not None and low <= threshold <= high:
            x = _LEFT + (threshold - low) / (high - low) * _WIDE
            parts.append(f'<path d="M{x:.1f} {_TOP}v{_SIDE}" stroke="#000" stroke-dasharray="{dash}"/>')
    return _svg(f"Scores of {title}", _WIDE, parts)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a diagram, with its name in the legend below."""

    name: str
    stroke: str
    dashed: bool
    points: tuple[tuple[float, float], ...]  # (x >= 0, percent), x rising
    marks: tuple[str, ...]  # above each point


def draw_lines(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """Return an `<svg>` of percentages from 0 to 100 against something that begins at 0."""
    most = max([x for line in lines for x, _ in line.points] or [0.0]) or 1.0
    parts = [
        _axes(_BROAD, across, "0", f"{most:.3g}"),
        _upright(up),
        _text(_LEFT - 6, _TOP + 8, "100", "end"),
        _text(_LEFT - 6, _TOP + _SIDE, "0", "end"),
    ]
    below = _TOP + _SIDE + _BOTTOM
    for number, line in enumerate(lines):
        dash = "5 4" if line.dashed else "none"
        places = [(_LEFT + x / most * _BROAD, _TOP + (1 - y / 100) * _SIDE) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        stroke = f'stroke="{line.stroke}" stroke-width="2" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')
        for (x, y), mark in zip(places, line.marks, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.stroke}"/>')
            parts += [_text(x - 4, y - 6, mark, "end", line.stroke)] if mark else []
        parts.append(f'<path d="M{_LEFT} {below + _ROW * number + 6}h24" {stroke}/>')
        parts.append(_text(_LEFT + 30, below + _ROW * number + 10, line.name, "start"))
    return _svg(title, _BROAD, parts, _ROW * len(lines))


def _svg(title: str, width: int, parts: list[str], legend: int = 0) -> str:
    box = f"0 0 {_LEFT + width + 10} {_TOP + _SIDE + _BOTTOM + legend}"
    return (
        f'<svg viewBox="{box}" width="{_LEFT + width + 10}" role="img" font-size="11" font-family="sans-serif">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _axes(width: int, label: str, low: str, high: str) -> str:
    below = _TOP + _SIDE + 14
    return (
        f'<rect x="{_LEFT}" y="{_TOP}" width="{width}" height="{_SIDE}" fill="none" stroke="#333"/>'
        + _text(_LEFT, below, low, "start")
        + _text(_LEFT + width, below, high, "end")
        + _text(_LEFT + width / 2, below + 12, label, "middle")
    )


def _upright(label: str) -> str:
    middle = _TOP + _SIDE / 2
    return f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(label)}</text>'


def _text(x: float, y: float, text: str, anchor: str, fill: str = "#000") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def _place(x: float, y: float, shift: float = 0.0) -> str:
    """Return where a point of the ROC curve is drawn: `x,y`, pixels."""
    return f"{_LEFT + x * _SIDE + shift:.1f},{_TOP + (1 - y) * _SIDE + shift:.1f}"
