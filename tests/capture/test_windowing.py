"""Windows slide by the hop, never span a gap, and a recording's end is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.capture.windowing import WindowCutter, cut
from edge_monitor.records import AudioBlock

if TYPE_CHECKING:
    from edge_monitor.records import Samples, Window

RATE_HZ = 10


def ramp(start: int, frames: int) -> Samples:
    """Return samples that say where they come from: start, start + 1 and so on."""
    return np.arange(start, start + frames, dtype=np.float32)


def block(start: int, frames: int, *, gap: bool = False, last: bool = False, file: str | None = None) -> AudioBlock:
    """Return a block of the ramp at ten frames per second."""
    return AudioBlock("p", ramp(start, frames), RATE_HZ, start / 10, file, start / 10, gap=gap, last=last)


def spans(windows: list[Window]) -> list[tuple[float, float]]:
    """Return the windows' first and last sample."""
    return [(float(window.samples[0]), float(window.samples[-1])) for window in windows]


def test_windows_slide_by_the_hop_and_carry_their_time() -> None:
    """A window of 2 s and a hop of 0.5 s over 3.2 s give windows at 0, 0.5 and 1 s."""
    cutter = WindowCutter("p", RATE_HZ, 2.0, 0.5)
    windows = [window for at in range(0, 32, 4) for window in cutter.feed(block(at, 4))]
    assert spans(windows) == [(0, 19), (5, 24), (10, 29)]
    assert [window.start_s for window in windows] == pytest.approx([0.0, 0.5, 1.0])
    assert [window.end_s for window in windows] == pytest.approx([2.0, 2.5, 3.0])


def test_no_window_spans_a_gap() -> None:
    """What was heard before a gap is forgotten, and too short a stretch is counted."""
    cutter = WindowCutter("p", RATE_HZ, 2.0, 1.0)
    assert cutter.feed(block(0, 19, gap=True)) == []
    assert spans(cutter.feed(block(100, 20, gap=True))) == [(100, 119)]
    assert cutter.feed(block(120, 9)) == []
    assert cutter.feed(block(300, 5, gap=True)) == []
    assert cutter.short_runs == 1


def test_a_recordings_last_window_is_right_aligned() -> None:
    """A clip of 3.5 s is heard to its end although the hop would stop at 3 s."""
    windows = list(cut(ramp(0, 35), RATE_HZ, 2.0, 1.0, recording="a.wav"))
    assert spans(windows) == [(0, 19), (10, 29), (15, 34)]
    assert windows[-1].recording_start_s == pytest.approx(1.5)
    assert windows[-1].recording == "a.wav"


def test_a_tail_below_a_tenth_of_a_hop_adds_no_second_copy() -> None:
    """One frame more than two whole windows of 20 does not make a third; three frames do."""
    assert spans(list(cut(ramp(0, 41), RATE_HZ, 2.0, 2.0))) == [(0, 19), (20, 39)]
    assert spans(list(cut(ramp(0, 43), RATE_HZ, 2.0, 2.0))) == [(0, 19), (20, 39), (23, 42)]


def test_a_short_recording_is_repeated_to_length() -> None:
    """A clip of 0.3 s gives one window that says so in its times."""
    (window,) = cut(ramp(1, 3), RATE_HZ, 1.0, 1.0)
    assert window.samples.tolist() == [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]
    assert [window.start_s, window.end_s] == pytest.approx([0.0, 0.3])


def test_the_next_file_starts_afresh() -> None:
    """After a last block nothing of the old file is in the next one's windows."""
    cutter = WindowCutter("p", RATE_HZ, 2.0, 1.0)
    assert spans(cutter.feed(block(0, 25, gap=True, last=True, file="a"))) == [(0, 19), (5, 24)]
    assert spans(cutter.feed(block(50, 20, gap=True, file="b"))) == [(50, 69)]
    assert cutter.short_runs == 0


def test_an_empty_clip_gives_no_window() -> None:
    """There is nothing to repeat."""
    assert list(cut(ramp(0, 0), RATE_HZ, 1.0, 1.0)) == []


def test_another_rate_is_refused() -> None:
    """Blocks must come resampled."""
    with pytest.raises(ValueError, match="expected p at 16000 Hz, not p at 10 Hz"):
        WindowCutter("p", 16_000, 1.0, 1.0).feed(block(0, 5))


@given(
    sizes=st.lists(st.integers(0, 70), max_size=12),
    window=st.integers(1, 40),
    hop=st.integers(1, 60),
)
def test_windows_do_not_depend_on_block_sizes(sizes: list[int], window: int, hop: int) -> None:
    """However a recording is cut into blocks, its windows are those of the whole, and all are contiguous."""
    total = sum(sizes)
    cutter = WindowCutter("p", RATE_HZ, window / 10, hop / 10)
    windows, at = [], 0
    for number, size in enumerate(sizes):
        windows += cutter.feed(block(at, size, last=number == len(sizes) - 1))
        at += size
    whole = list(cut(ramp(0, total), RATE_HZ, window / 10, hop / 10))
    assert spans(windows) == spans(whole)
    if total >= window:
        assert all(np.all(np.diff(cut_window.samples) == 1) for cut_window in windows)
        assert total - 1 - max(last for _, last in spans(windows)) <= hop * 0.1
