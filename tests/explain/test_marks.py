"""The picture says where a finding is: a numbered bracket at its band, a bar over its times, its words below."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from edge_monitor.explain.picture import Panel, draw
from edge_monitor.explain.spectrogram import compact, expand
from edge_monitor.records import Finding

IMPULSES = Finding(
    "impulses", "impulses at 87 per second in 2-4 kHz, normally none", 87.0, None, "1/s", 6.0, band_hz=(2000.0, 4000.0)
)
KNOCKS = Finding(
    "impulses",
    "3 knocks, normally none",
    3.0,
    None,
    "1",
    2.0,
    times_s=((1.0, 1.1), (5.0, 5.1), (5.12, 5.2), (9.0, 9.5)),
)
TONE = Finding("tone", "a tone at 1000 Hz, normally none", 1000.0, None, "Hz", 2.0, band_hz=(999.0, 1001.0))
HUM = Finding("level", "the level is 3 dB higher", -30.0, -33.0, "dB", 1.1)

LIGHTEST = 246  # grey level of the loudest sound; only white is lighter
PLOT_ROWS = slice(104, 424)
BESIDE_ANOMALY, BESIDE_NORMAL = slice(447, 497), slice(887, 937)


def grey(*findings: Finding) -> np.ndarray:
    """Return the picture of ten seconds of noise with these findings, printed grey, (rows, columns)."""
    noise = np.random.default_rng(1).normal(0, 0.05, 160_000).astype(np.float32)
    panel = Panel("x", expand(compact(noise, 16_000)))
    with Image.open(BytesIO(draw("t", "s", panel, panel, findings))) as image:
        return np.asarray(image.convert("L")).astype(int)


def dark_rows(picture: np.ndarray, columns: slice) -> np.ndarray:
    """Return the rows of the plots' height where something is drawn beside a plot."""
    return np.flatnonzero((picture[PLOT_ROWS, columns] < 100).any(axis=1))


def test_a_band_is_bracketed_beside_both_plots() -> None:
    """2 to 4 kHz are at 53 % and 75 % of a mel axis from 20 Hz to 8 kHz, in a plot of 320 rows."""
    picture = grey(IMPULSES)
    for columns in (BESIDE_ANOMALY, BESIDE_NORMAL):
        rows = dark_rows(picture, columns)
        assert abs(rows.min() - 78) <= 2
        assert abs(rows.max() - 151) <= 2
    assert not dark_rows(grey(HUM), BESIDE_ANOMALY).size  # the whole sound's level is nowhere in particular


def test_a_tone_is_bracketed_wide_enough_to_be_seen() -> None:
    """Two hertz are less than a row; the bracket spans nine around them."""
    rows = dark_rows(grey(TONE), BESIDE_NORMAL)
    assert 9 <= rows.max() - rows.min() <= 14
    assert abs((rows.max() + rows.min()) / 2 - 208) <= 3  # 1 kHz is at 35 %


def test_times_are_bars_over_the_anomaly_only() -> None:
    """Three bars at 1 s, 5 s and 9 s, the two that touch as one; the normal is another sound and has none."""
    picture = grey(KNOCKS)
    anomaly, normal = picture[105, 62:446], picture[105, 502:886]
    begins = np.flatnonzero(np.diff((anomaly > LIGHTEST).astype(int), prepend=0) == 1)
    assert [round(column / 383 * 10, 1) for column in begins] == [1.0, 5.0, 9.0]
    assert not (normal > LIGHTEST).any()


def test_the_picture_grows_by_a_line_for_each_finding_and_says_how_many_are_left_out() -> None:
    """Nothing found: as tall as ever. Four found: three lines, and a fourth that counts."""
    assert grey().shape == (480, 1200)
    assert grey(TONE).shape == (516, 1200)
    assert grey(IMPULSES, TONE, HUM, KNOCKS).shape == (588, 1200)
    below = (grey(IMPULSES, TONE)[480:] < 100).any(axis=1)
    assert np.count_nonzero(np.diff(below.astype(int)) == 1) >= 2


def test_a_band_or_time_outside_the_picture_is_drawn_at_its_edge() -> None:
    """Figures of another sample rate, or a window shorter than the finding says, spoil nothing."""
    odd = Finding("x", "x", 1.0, None, "Hz", 1.0, band_hz=(0.0, 48_000.0), times_s=((-1.0, 0.2), (9.9, 30.0), (40, 41)))
    rows = dark_rows(grey(odd), BESIDE_ANOMALY)
    assert (rows.min(), rows.max()) == (0, 319)


def test_three_bands_in_one_place_have_brackets_side_by_side() -> None:
    """No bracket lies on another, and none reaches into the next plot."""
    picture = grey(IMPULSES, IMPULSES, IMPULSES)
    column = (picture[230, BESIDE_ANOMALY] < 100).astype(int)
    assert np.count_nonzero(np.diff(column, prepend=0) == 1) == 3
