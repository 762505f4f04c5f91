"""What a picture is drawn on: where the plots are, the inks, the letters, the frequency axis."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from edge_monitor.explain.spectrogram import mel

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from edge_monitor.explain.spectrogram import CompactSpectrogram

WIDTH, HEIGHT = 1200, 480
TOP, PLOT_HEIGHT, PLOT_WIDTH = 104, 320, 384  # 5 pixels per band, 3 per step
LEFT_X, RIGHT_X, CHANGE_X, BAR_X = 62, 502, 946, 1118  # right of each plot there is room for marks
CHANGE_WIDTH, BAR_WIDTH = 124, 18
PAPER, INK, FAINT, GRID = (250, 250, 250), (30, 32, 38), (112, 116, 126), (222, 225, 230)


def write(
    pen: ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: tuple[int, int, int] = INK,
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


def height_of(spectrogram: CompactSpectrogram, freq_hz: float) -> float:
    """Return a frequency's place on the mel axis: 0 at the bottom, 1 at the top."""
    low, high = mel(spectrogram.low_hz), mel(spectrogram.high_hz)
    return (mel(freq_hz) - low) / (high - low)
