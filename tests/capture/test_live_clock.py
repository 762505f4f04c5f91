"""Live labels follow the monotonic clock, and lost sound shows as a gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_monitor.capture.live_clock import LiveClock

if TYPE_CHECKING:
    from edge_monitor.capture.live_clock import Timing

RATE_HZ, FRAMES = 16_000, 1600


def run(
    clock: LiveClock, seconds: float, offset_s: float = 0.0, begin_s: float = 100.0, ppm: float = 0.0
) -> list[Timing]:
    """Feed packets of 0.1 s that arrive with jitter, `offset_s` late; `ppm` is how slow the converter is."""
    timings = []
    for number in range(round(seconds * 10)):
        late_s = 0.02 * (number % 3)
        first_s = begin_s + number * 0.1 * (1 + ppm * 1e-6) + offset_s + late_s
        timings.append(clock.label(first_s, FRAMES, RATE_HZ, dropped_frames=0, lost=False))
    return timings


def test_jitter_does_not_move_labels() -> None:
    """Packets that come up to 40 ms late are labelled by their samples; only the first is behind a gap."""
    timings = run(LiveClock(), 60)
    assert [timing.start_s for timing in timings] == pytest.approx([100 + 0.1 * n for n in range(600)])
    assert [timing.gap for timing in timings] == [True] + [False] * 599


def test_a_slow_converter_drifts_back_onto_the_clock_without_a_gap() -> None:
    """At 200 ppm the label is off by 120 ms after ten minutes unless it is moved: it stays within 60 ms."""
    timings = run(LiveClock(), 600, ppm=200)
    assert sum(timing.gap for timing in timings) == 1
    assert timings[-1].start_s == pytest.approx(100 + 599.9 * (1 + 200e-6), abs=0.06)


def test_sound_lost_without_a_word_becomes_a_gap() -> None:
    """Half a second that the driver swallowed is found within 20 s and counted."""
    clock = LiveClock()
    run(clock, 30)
    timings = run(clock, 25, begin_s=130.0, offset_s=0.5)
    gaps = [timing for timing in timings if timing.gap]
    assert [timing.dropped_frames for timing in gaps] == [pytest.approx(8000, abs=100)]
    assert timings.index(gaps[0]) <= 200
    assert timings[-1].start_s == pytest.approx(154.9 + 0.5, abs=0.05)


def test_a_burst_after_a_stall_is_no_gap() -> None:
    """Sound that was held back for three seconds and then delivered at once was not lost."""
    clock = LiveClock()
    run(clock, 30)
    stalled = [clock.label(133.0, FRAMES, RATE_HZ, dropped_frames=0, lost=False) for _ in range(30)]
    timings = stalled + run(clock, 30, begin_s=133.0)
    assert not any(timing.gap for timing in timings)
    assert timings[-1].start_s == pytest.approx(162.9)


def test_reported_drops_are_gaps_at_the_clocks_time() -> None:
    """A counted drop, and an overflow of unknown size, anchor the stream anew."""
    clock = LiveClock()
    run(clock, 1)
    counted = clock.label(101.2, FRAMES, RATE_HZ, dropped_frames=3200, lost=False)
    assert (counted.gap, counted.dropped_frames) == (True, 3200)
    assert counted.start_s == pytest.approx(101.2)
    unknown = clock.label(102.0, FRAMES, RATE_HZ, dropped_frames=0, lost=True)
    assert unknown.gap
    assert unknown.start_s == pytest.approx(102.0)
    assert unknown.dropped_frames == pytest.approx(0.7 * RATE_HZ, abs=1)


def test_a_gap_never_moves_time_back() -> None:
    """A drop reported early is labelled after what was heard before it."""
    clock = LiveClock()
    run(clock, 1)
    timing = clock.label(100.5, FRAMES, RATE_HZ, dropped_frames=1, lost=False)
    assert timing.start_s == pytest.approx(101.0)
