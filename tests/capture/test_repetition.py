"""A driver that plays its ring again is noticed within a second of the second time; a machine never is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.capture.repetition import RepetitionWatch
from edge_monitor.records import AudioBlock
from tests.sounds import pump

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.records import Samples

RATE_HZ = 48_000
BLOCK = 4800  # frames, 0.1 s


def noise(seconds: float, *, rms: float = 0.02, seed: int = 0) -> Samples:
    """Return what a microphone of 16 bits hears in a quiet hall."""
    draw = np.random.default_rng(seed).normal(0.0, rms, round(seconds * RATE_HZ))
    return sixteen_bits(draw)


def sixteen_bits(sound: NDArray[np.floating]) -> Samples:
    """Return sound as a converter gives it."""
    return (np.round(sound * 32767) / 32768).astype(np.float32)


def heard_again_s(sound: Samples, rate_hz: int = RATE_HZ, *, gap_at: int | None = None) -> float | None:
    """Return after how many seconds the sound is first said to repeat itself; None: never."""
    watch = RepetitionWatch()
    for first in range(0, len(sound), BLOCK):
        piece = sound[first : first + BLOCK]
        watch.hear(AudioBlock("pump", piece, rate_hz, start_s=first / rate_hz, gap=first == gap_at))
        if watch.repeats(0.0):
            return (first + len(piece)) / rate_hz
    return None


@pytest.mark.parametrize("ring_s", [0.05, 0.5, 3.0, 10.0])
def test_a_ring_that_is_played_again_is_heard(ring_s: float) -> None:
    """However long it is, and wherever in it the driver was when it began to hang."""
    sound = np.concatenate([noise(7.3, seed=1), np.tile(noise(ring_s, seed=2), int(25 / ring_s))])
    found_s = heard_again_s(sound)
    assert found_s is not None
    assert 7.3 + ring_s < found_s < 7.3 + ring_s + 1.6


def test_it_says_how_long_the_ring_is() -> None:
    """And for how long the sound since then is none."""
    watch = RepetitionWatch()
    sound = np.concatenate([np.tile(noise(3.0), 3), noise(4.0, seed=3)])
    for first in range(0, len(sound), BLOCK):
        watch.hear(AudioBlock("pump", sound[first : first + BLOCK], RATE_HZ, start_s=first / RATE_HZ))
    told = "the sound repeats itself exactly every 3.00 s: the driver plays an old buffer again"
    assert watch.repeats(8.0) == told
    assert watch.repeats(9.5) is None


@pytest.mark.parametrize("rms", [0.1, 1e-3, 2.5e-5, 5.6e-6])
def test_a_microphone_in_a_hall_never_repeats_itself(rms: float) -> None:
    """Down to -105 dBFS, where 16 bits leave hardly a sample that is not zero."""
    assert heard_again_s(noise(60.0, rms=rms)) is None


def test_machines_never_repeat_themselves() -> None:
    """However steady they run."""
    assert heard_again_s(sixteen_bits(pump(30.0)), 16_000) is None
    assert heard_again_s(sixteen_bits(pump(30.0, fault="rattle")), 16_000) is None


def test_silence_is_another_fault() -> None:
    """As is a signal that stands still."""
    assert heard_again_s(np.zeros(20 * RATE_HZ, dtype=np.float32)) is None
    assert heard_again_s(np.full(20 * RATE_HZ, 0.25, dtype=np.float32)) is None


def test_after_a_gap_nothing_is_known() -> None:
    """A driver that was started anew may give its ring once more."""
    assert heard_again_s(np.tile(noise(3.0), 2)[: round(3.9 * RATE_HZ)]) is None
    assert heard_again_s(np.tile(noise(3.0), 2), gap_at=3 * RATE_HZ) is None
