"""The picture of an alarm: its spectrogram beside its nearest normal's, on the same scales."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.explain.canvas import (
    BAR_WIDTH,
    BAR_X,
    CHANGE_WIDTH,
    CHANGE_X,
    FAINT,
    GRID,
    HEIGHT,
    INK,
    LEFT_X,
    PAPER,
    PLOT_HEIGHT,
    PLOT_WIDTH,
    RIGHT_X,
    TOP,
    WIDTH,
    height_of,
    write,
)
from edge_monitor.explain.marks import height_of_list, list_findings, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from edge_monitor.explain.spectrogram import CompactSpectrogram
    from edge_monitor.records import Finding

_LOUDER, _QUIETER = (196, 60, 48), (58, 98, 170)
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_TICK_GAP = 14  # pixels between two frequency ticks
_MIN_RANGE_DB = 30  # so that noise does not look like structure
_MIN_CHANGE_DB = 6  # full scale of the change; below it differences look as small as they are

# The "magma" colours of matplotlib (van der Walt and Smith 2015, CC0) at ten equal steps: dark to light in
# lightness, too, so that it survives grey printing and colour blindness.
_MAGMA = bytes.fromhex("000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf")
_COLOURS = np.frombuffer(_MAGMA, dtype=np.uint8).reshape(-1, 3).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Panel:
    """One spectrogram and the line above it."""

    caption: str
    spectrogram: CompactSpectrogram


def draw(title: str, subtitle: str, anomaly: Panel, normal: Panel | None, findings: Sequence[Finding] = ()) -> bytes:
    """Return a PNG: the anomaly, its nearest normal, and how each band's mean level changed from one to the other.

    Frequency is on a mel axis with ticks in Hz, time in s, level in dB re full scale. Without a normal there is
    the anomaly alone. The bands of the first `findings` are marked on both, their times on the anomaly; a number
    leads from each mark to its line below the plots, for which the picture grows.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT + height_of_list(findings)), PAPER)
    pen = ImageDraw.Draw(image)
    write(pen, (LEFT_X, 14), title, 20)
    write(pen, (LEFT_X, 44), subtitle, 14, FAINT)
    range_db = _range_db([panel.spectrogram for panel in (anomaly, normal) if panel])
    _plot(image, pen, LEFT_X, anomaly, range_db)
    _frequency_ticks(pen, anomaly.spectrogram)
    mark(pen, LEFT_X, anomaly.spectrogram, findings, times=True)
    list_findings(pen, findings, HEIGHT)
    _colour_bar(image, pen, *range_db)
    if normal is None:
        write(pen, (RIGHT_X + 20, TOP + PLOT_HEIGHT // 2), "no spectrogram is kept with the nearest normal", 14, FAINT)
    else:
        _plot(image, pen, RIGHT_X, normal, range_db)
        mark(pen, RIGHT_X, normal.spectrogram, findings, times=False)
        if normal.spectrogram.db.shape[0] == anomaly.spectrogram.db.shape[0]:
            _change(pen, anomaly.spectrogram, normal.spectrogram)
    buffer = BytesIO()
    image.quantize(palette=_palette(), dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _palette() -> Image:
    """Return the 256 colours of the file: the levels, greys for text, and the two of the change."""
    from PIL import Image as Images

    greys = np.linspace(0, 255, 54).astype(np.uint8).repeat(3).reshape(-1, 3)
    colours = np.concatenate([_coloured(np.linspace(0.0, 1.0, 200)), greys, np.array([_LOUDER, _QUIETER], np.uint8)])
    palette = Images.new("P", (1, 1))
    palette.putpalette(colours.tobytes())
    return palette


def _range_db(spectrograms: list[CompactSpectrogram]) -> tuple[float, float]:
    """Return the levels of the darkest and the lightest colour, multiples of 10 dB."""
    levels = np.concatenate([spectrogram.db.ravel() for spectrogram in spectrograms])
    high = 10.0 * float(np.ceil(np.percentile(levels, 99.5) / 10.0))
    low = 10.0 * float(np.floor(np.percentile(levels, 2.0) / 10.0))
    return min(low, high - _MIN_RANGE_DB), high


def _coloured(share: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return RGB for shares 0 … 1 of the level range: (…,) -> (…, 3)."""
    at = np.linspace(0.0, 1.0, len(_COLOURS))
    return np.stack([np.interp(share, at, _COLOURS[:, channel]) for channel in range(3)], axis=-1).astype(np.uint8)


def _plot(image: Image, pen: ImageDraw, left: int, panel: Panel, range_db: tuple[float, float]) -> None:
    from PIL import Image as Images

    spectrogram, (low_db, high_db) = panel.spectrogram, range_db
    pixels = _coloured((spectrogram.db[::-1] - low_db) / (high_db - low_db))  # (bands, steps, 3), high band on top
    grid = Images.fromarray(pixels).resize((PLOT_WIDTH, PLOT_HEIGHT), Images.Resampling.NEAREST)
    image.paste(grid, (left, TOP))
    write(pen, (left, TOP - 8), panel.caption, 14, anchor="ls", width=PLOT_WIDTH)
    bottom = TOP + PLOT_HEIGHT
    step_s = next((step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if spectrogram.seconds / step <= 6), 100)  # noqa: PLR2004 - at most six ticks
    for index in range(int(spectrogram.seconds / step_s + 1e-6) + 1):
        x = left + round(index * step_s / spectrogram.seconds * (PLOT_WIDTH - 1))
        pen.line([(x, bottom), (x, bottom + 4)], fill=INK)
        write(pen, (x, bottom + 7), f"{index * step_s:g}", 12, anchor="ma")
    write(pen, (left + PLOT_WIDTH / 2, bottom + 26), "time in s", 12, FAINT, anchor="ma")


def _frequency_ticks(pen: ImageDraw, spectrogram: CompactSpectrogram) -> None:
    last_y = TOP + PLOT_HEIGHT + _TICK_GAP
    for freq_hz in _TICKS_HZ:
        y = TOP + round((1.0 - height_of(spectrogram, freq_hz)) * (PLOT_HEIGHT - 1))
        if not TOP <= y <= last_y - _TICK_GAP:
            continue
        last_y = y
        label = f"{freq_hz // 1000}k" if freq_hz >= 1000 else str(freq_hz)  # noqa: PLR2004 - kilohertz
        write(pen, (LEFT_X - 8, y), label, 12, anchor="rm")
        for left in (LEFT_X, RIGHT_X):
            pen.line([(left - 4, y), (left - 1, y)], fill=INK)
        pen.line([(CHANGE_X, y), (CHANGE_X + CHANGE_WIDTH, y)], fill=GRID)
    write(pen, (LEFT_X - 8, TOP - 8), "Hz", 12, FAINT, anchor="rs")


def _colour_bar(image: Image, pen: ImageDraw, low_db: float, high_db: float) -> None:
    from PIL import Image as Images

    column = _coloured(np.linspace(1.0, 0.0, PLOT_HEIGHT))[:, None].repeat(BAR_WIDTH, axis=1)
    image.paste(Images.fromarray(column), (BAR_X, TOP))
    step_db = 10 if high_db - low_db <= 70 else 20  # noqa: PLR2004 - at most eight ticks
    for level_db in range(int(high_db), int(low_db) - 1, -step_db):
        y = TOP + round((high_db - level_db) / (high_db - low_db) * (PLOT_HEIGHT - 1))
        pen.line([(BAR_X + BAR_WIDTH, y), (BAR_X + BAR_WIDTH + 3, y)], fill=INK)
        write(pen, (BAR_X + BAR_WIDTH + 7, y), f"{level_db}", 12, anchor="lm")
    write(pen, (BAR_X, TOP - 8), "dBFS", 12, FAINT, anchor="ls")


def _change(pen: ImageDraw, anomaly: CompactSpectrogram, normal: CompactSpectrogram) -> None:
    """Draw, band by band, how much louder (right, red) or quieter (left, blue) the anomaly is in mean power."""
    change_db = _mean_db(anomaly) - _mean_db(normal)  # (bands,)
    full_db = max(_MIN_CHANGE_DB, int(np.ceil(np.abs(change_db).max())))
    middle = CHANGE_X + CHANGE_WIDTH / 2
    for band, value in enumerate(change_db):
        top = TOP + round((len(change_db) - 1 - band) / len(change_db) * PLOT_HEIGHT)
        bottom = TOP + round((len(change_db) - band) / len(change_db) * PLOT_HEIGHT) - 1
        x = middle + value / full_db * CHANGE_WIDTH / 2
        pen.rectangle([min(middle, x), top, max(middle, x), bottom], fill=_LOUDER if value > 0 else _QUIETER)
    pen.line([(middle, TOP), (middle, TOP + PLOT_HEIGHT)], fill=INK)
    write(pen, (CHANGE_X, TOP - 8), "Change", 14, anchor="ls")
    for share, label in ((0.0, f"-{full_db}"), (0.5, "0"), (1.0, f"+{full_db}")):
        write(pen, (CHANGE_X + share * CHANGE_WIDTH, TOP + PLOT_HEIGHT + 7), label, 12, anchor="ma")
    write(pen, (middle, TOP + PLOT_HEIGHT + 26), "quieter | louder, dB", 12, FAINT, anchor="ma")


def _mean_db(spectrogram: CompactSpectrogram) -> NDArray[np.float64]:
    return np.asarray(10.0 * np.log10(np.mean(10.0 ** (spectrogram.db.astype(np.float64) / 10.0), axis=1)))
