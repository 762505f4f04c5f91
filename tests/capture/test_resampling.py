"""A resampled stream keeps its pitch, its length and its time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.capture.resampling import StreamResampler, resample
from edge_monitor.records import AudioBlock

if TYPE_CHECKING:
    from edge_monitor.records import Samples


def tone(rate_hz: int, seconds: float, start_s: float = 0.0) -> list[AudioBlock]:
    """Return a 440 Hz sine of amplitude 0.5 in blocks of a tenth of a second; the last is marked."""
    frames = round(rate_hz * seconds)
    samples = (0.5 * np.sin(2 * np.pi * 440 * np.arange(frames) / rate_hz)).astype(np.float32)
    size = rate_hz // 10
    return [
        AudioBlock(
            "p",
            samples[at : at + size],
            rate_hz,
            start_s + at / rate_hz,
            "a",
            at / rate_hz,
            gap=at == 0,
            last=at + size >= frames,
        )
        for at in range(0, frames, size)
    ]


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 44_100, 48_000, 96_000])
def test_pitch_length_and_time_are_kept(rate_hz: int) -> None:
    """Two seconds of a sine at any rate become the same sine at 16 kHz, each block labelled with its own time."""
    resampler = StreamResampler(16_000)
    blocks = [out for block in tone(rate_hz, 2.0, start_s=7.0) if (out := resampler.feed(block))]
    samples = np.concatenate([block.samples for block in blocks])
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    assert len(samples) == 32_000
    assert np.abs(samples - expected)[500:-500].max() < 1e-4
    starts = 7.0 + np.cumsum([0] + [len(block.samples) for block in blocks[:-1]]) / 16_000
    assert [block.start_s for block in blocks] == pytest.approx(starts.tolist(), abs=1e-6)
    assert [block.recording_start_s for block in blocks] == pytest.approx((starts - 7.0).tolist(), abs=1e-6)
    assert [block.gap for block in blocks] == [True] + [False] * (len(blocks) - 1)
    assert [block.last for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_equal_rates_pass_through_untouched() -> None:
    """At the bundle's own rate the very same block comes out."""
    (block, *_) = tone(16_000, 1.0)
    assert StreamResampler(16_000).feed(block) is block


def test_nothing_leaks_across_a_gap() -> None:
    """After a gap the stream starts at the new block's time, with its drop count at the new rate."""
    resampler = StreamResampler(16_000)
    for block in tone(48_000, 1.0)[:-1]:
        resampler.feed(block)
    silence = np.zeros(4800, dtype=np.float32)
    out = resampler.feed(AudioBlock("p", silence, 48_000, 9.0, gap=True, dropped_frames=300))
    assert out is not None
    assert (out.gap, out.dropped_frames) == (True, 100)
    assert out.start_s == pytest.approx(9.0)
    assert not out.samples.any()


def test_a_gap_is_not_forgotten_while_the_filter_fills() -> None:
    """Blocks too small to give output at once hand their gap to the first that does."""
    resampler = StreamResampler(16_000)
    blocks = [AudioBlock("p", np.zeros(480, np.float32), 96_000, at * 0.005, gap=at == 0) for at in range(40)]
    outs = [out for block in blocks if (out := resampler.feed(block))]
    assert len(outs) < 40
    assert [out.gap for out in outs[:2]] == [True, False]


def test_one_bad_sample_spoils_its_surroundings_only() -> None:
    """A not-a-number is still seen after resampling, and half a second later the sound is whole."""
    blocks = tone(48_000, 3.0)
    blocks[10].samples[0] = np.nan
    resampler = StreamResampler(16_000)
    samples = np.concatenate([out.samples for block in blocks if (out := resampler.feed(block))])
    bad = np.flatnonzero(~np.isfinite(samples))
    assert len(bad)
    assert bad[0] > 15_000
    assert bad[-1] < 17_000


@pytest.mark.parametrize("offset", [-0.2, 0.2])
def test_an_offset_neither_begins_nor_ends_with_a_click(offset: float) -> None:
    """What goes in with a DC offset comes out with it, and is else the same from the first sample to the last."""

    def resampled(added: float) -> list[Samples]:
        blocks = [replace(block, samples=block.samples + np.float32(added)) for block in tone(48_000, 1.0)]
        whole = resample(np.concatenate([block.samples for block in blocks]), 48_000, 16_000)
        resampler = StreamResampler(16_000)
        return [whole, np.concatenate([out.samples for block in blocks if (out := resampler.feed(block))])]

    for there, without in zip(resampled(offset), resampled(0.0), strict=True):
        assert np.abs(there - offset - without).max() < 1e-6
