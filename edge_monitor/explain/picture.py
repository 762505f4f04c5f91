"""The picture of an alarm: its spectrogram beside its nearest normal's, on the same scales."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_monitor.explain.spectrogram import mel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from edge_monitor.explain.spectrogram import CompactSpectrogram

WIDTH, HEIGHT = 1150, 480
_TOP, _PLOT_HEIGHT, _PLOT_WIDTH = 104, 320, 384  # 5 pixels per band, 3 per step
_LEFT_X, _RIGHT_X, _CHANGE_X, _BAR_X = 62, 472, 886, 1066
_CHANGE_WIDTH, _BAR_WIDTH = 124, 18
_PAPER, _INK, _FAINT, _GRID = (250, 250, 250), (30, 32, 38), (112, 116, 126), (222, 225, 230)
_LOUDER, _QUIETER = (196, 60, 48), (58, 98, 170)
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_TICK_GAP = 14  # pixels between two frequency ticks
_MIN_RANGE_DB = 30  # so that noise does not look like structure
_MIN_CHANGE_DB = 6  # full scale of the change; below it differences look as small as they are

# The "magma" colours of matplotlib (van der Walt and Smith 2015, CC0) at ten equal steps: dark to light in
# lightness, too, so that it survives grey printing and colour blindness.
_COLOURS = np.array([
    (0, 0, 4), (24, 15, 61), (68, 15, 118), (114, 31, 129), (158, 47, 127),
    (205, 64, 113), (241, 96, 93), (253, 150, 104), (254, 202, 141), (252, 253, 191),
], dtype=np.float64)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Panel:
    """One spectrogram and the line above it."""

    caption: str
    spectrogram: CompactSpectrogram


def draw(title: str, subtitle: str, anomaly: Panel, normal: Panel | None) -> bytes:
    """Return a PNG: the anomaly, its nearest normal, and how each band's mean level changed from one to the other.

    Frequency is on a mel axis with ticks in Hz, time in s, level in dB re full scale. Without a normal there is
    the anomaly alone.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    pen = ImageDraw.Draw(image)
    _text(pen, (_LEFT_X, 14), title, 20)
    _text(pen, (_LEFT_X, 44), subtitle, 14, _FAINT)
    range_db = _range_db([panel.spectrogram for panel in (anomaly, normal) if panel])
    _plot(image, pen, _LEFT_X, anomaly, range_db)
    _frequency_ticks(pen, anomaly.spectrogram)
    _colour_bar(image, pen, *range_db)
    if normal is None:
        _text(
            pen, (_RIGHT_X + 20, _TOP + _PLOT_HEIGHT // 2), "no spectrogram is kept with the nearest normal", 14, _FAINT
        )
    else:
        _plot(image, pen, _RIGHT_X, normal, range_db)
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


def _text(
    pen: ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: tuple[int, int, int] = _INK,
    *,
    anchor: str = "la",
    width: int = 1000,
) -> None:
    """Write one line, shortened to `width` pixels; a file's name may hold characters that cannot be printed."""
    font, text = _font(size, "".join(letter if letter.isprintable() else "?" for letter in text))
    if pen.textlength(text, font=font) > width:
        while text and pen.textlength(text + "...", font=font) > width:
            text = text[:-1]
        text += "..."
    pen.text(at, text, fill=colour, font=font, anchor=anchor)


def _font(size: int, text: str) -> tuple[Any, str]:
    """Return a font and the text as it can be drawn: Pillow's own font has ASCII only, the system's may be missing."""
    from PIL import ImageFont

    if not text.isascii():
        try:
            return ImageFont.truetype("DejaVuSans.ttf", size), text
        except OSError:
            letters = unicodedata.normalize("NFKD", text)
            text = "".join(c if c.isascii() else "?" for c in letters if not unicodedata.combining(c))
    return ImageFont.load_default(size), text


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
    grid = Images.fromarray(pixels).resize((_PLOT_WIDTH, _PLOT_HEIGHT), Images.Resampling.NEAREST)
    image.paste(grid, (left, _TOP))
    _text(pen, (left, _TOP - 8), panel.caption, 14, anchor="ls", width=_PLOT_WIDTH)
    bottom = _TOP + _PLOT_HEIGHT
    step_s = next((step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if spectrogram.seconds / step <= 6), 100)  # noqa: PLR2004 - at most six ticks
    for index in range(int(spectrogram.seconds / step_s + 1e-6) + 1):
        x = left + round(index * step_s / spectrogram.seconds * (_PLOT_WIDTH - 1))
        pen.line([(x, bottom), (x, bottom + 4)], fill=_INK)
        _text(pen, (x, bottom + 7), f"{index * step_s:g}", 12, anchor="ma")
    _text(pen, (left + _PLOT_WIDTH / 2, bottom + 26), "time in s", 12, _FAINT, anchor="ma")


def _height(spectrogram: CompactSpectrogram, freq_hz: float) -> float:
    """Return a frequency's place on the mel axis: 0 at the bottom, 1 at the top."""
    low, high = mel(spectrogram.low_hz), mel(spectrogram.high_hz)
    return (mel(freq_hz) - low) / (high - low)


def _frequency_ticks(pen: ImageDraw, spectrogram: CompactSpectrogram) -> None:
    last_y = _TOP + _PLOT_HEIGHT + _TICK_GAP
    for freq_hz in _TICKS_HZ:
        y = _TOP + round((1.0 - _height(spectrogram, freq_hz)) * (_PLOT_HEIGHT - 1))
        if not _TOP <= y <= last_y - _TICK_GAP:
            continue
        last_y = y
        label = f"{freq_hz // 1000}k" if freq_hz >= 1000 else str(freq_hz)  # noqa: PLR2004 - kilohertz
        _text(pen, (_LEFT_X - 8, y), label, 12, anchor="rm")
        for left in (_LEFT_X, _RIGHT_X):
            pen.line([(left - 4, y), (left - 1, y)], fill=_INK)
        pen.line([(_CHANGE_X, y), (_CHANGE_X + _CHANGE_WIDTH, y)], fill=_GRID)
    _text(pen, (_LEFT_X - 8, _TOP - 8), "Hz", 12, _FAINT, anchor="rs")


def _colour_bar(image: Image, pen: ImageDraw, low_db: float, high_db: float) -> None:
    from PIL import Image as Images

    column = _coloured(np.linspace(1.0, 0.0, _PLOT_HEIGHT))[:, None].repeat(_BAR_WIDTH, axis=1)
    image.paste(Images.fromarray(column), (_BAR_X, _TOP))
    step_db = 10 if high_db - low_db <= 70 else 20  # noqa: PLR2004 - at most eight ticks
    for level_db in range(int(high_db), int(low_db) - 1, -step_db):
        y = _TOP + round((high_db - level_db) / (high_db - low_db) * (_PLOT_HEIGHT - 1))
        pen.line([(_BAR_X + _BAR_WIDTH, y), (_BAR_X + _BAR_WIDTH + 3, y)], fill=_INK)
        _text(pen, (_BAR_X + _BAR_WIDTH + 7, y), f"{level_db}", 12, anchor="lm")
    _text(pen, (_BAR_X, _TOP - 8), "dBFS", 12, _FAINT, anchor="ls")


def _change(pen: ImageDraw, anomaly: CompactSpectrogram, normal: CompactSpectrogram) -> None:
    """Draw, band by band, how much louder (right, red) or quieter (left, blue) the anomaly is in mean power."""
    change_db = _mean_db(anomaly) - _mean_db(normal)  # (bands,)
    full_db = max(_MIN_CHANGE_DB, int(np.ceil(np.abs(change_db).max())))
    middle = _CHANGE_X + _CHANGE_WIDTH / 2
    for band, value in enumerate(change_db):
        top = _TOP + round((len(change_db) - 1 - band) / len(change_db) * _PLOT_HEIGHT)
        bottom = _TOP + round((len(change_db) - band) / len(change_db) * _PLOT_HEIGHT) - 1
        x = middle + value / full_db * _CHANGE_WIDTH / 2
        pen.rectangle([min(middle, x), top, max(middle, x), bottom], fill=_LOUDER if value > 0 else _QUIETER)
    pen.line([(middle, _TOP), (middle, _TOP + _PLOT_HEIGHT)], fill=_INK)
    _text(pen, (_CHANGE_X, _TOP - 8), "Change", 14, anchor="ls")
    for share, label in ((0.0, f"-{full_db}"), (0.5, "0"), (1.0, f"+{full_db}")):
        _text(pen, (_CHANGE_X + share * _CHANGE_WIDTH, _TOP + _PLOT_HEIGHT + 7), label, 12, anchor="ma")
    _text(pen, (middle, _TOP + _PLOT_HEIGHT + 26), "quieter | louder, dB", 12, _FAINT, anchor="ma")


def _mean_db(spectrogram: CompactSpectrogram) -> NDArray[np.float64]:
    return np.asarray(10.0 * np.log10(np.mean(10.0 ** (spectrogram.db.astype(np.float64) / 10.0), axis=1)))
