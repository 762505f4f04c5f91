"""Streams hold whole clips, each once in a pass, and what is decided on them is counted."""

from __future__ import annotations

import numpy as np

from edge_monitor.evaluate.rules import ProductRule
from edge_monitor.evaluate.streams import Tally, draw_stream, play

CLIPS = [np.array([10.0, 11.0, 12.0]), np.array([20.0]), np.array([30.0, 31.0])]


def clips_of(stream: list[float]) -> list[int]:
    """Return the clips of a stream in their order; their windows must follow each other."""
    found: list[int] = []
    while stream:
        clip = int(stream[0] // 10) - 1
        part = CLIPS[clip].tolist()[: len(stream)]
        assert stream[: len(part)] == part
        found.append(clip)
        stream = stream[len(part) :]
    return found


def test_three_passes_hold_every_clip_three_times_in_new_orders() -> None:
    """A recording of several windows stays together."""
    draw = np.random.default_rng(0)
    orders = set()
    for _ in range(20):
        order = clips_of(draw_stream(CLIPS, "passes", 5, draw).tolist())
        passes = [tuple(order[first : first + 3]) for first in (0, 3, 6)]
        assert [sorted(each) for each in passes] == [[0, 1, 2]] * 3
        orders |= set(passes)
    assert len(orders) == 6


def test_a_stream_of_twice_the_memory_is_cut_there() -> None:
    """Shorter than a pass, or as many passes as it takes."""
    draw = np.random.default_rng(0)
    for memory in (1, 2, 5, 100):
        stream = draw_stream(CLIPS, "memory", memory, draw)
        assert len(stream) == 2 * memory
        assert clips_of(stream.tolist())


def test_alarms_are_counted_with_the_windows_heard_until_them() -> None:
    """Two of three streams, after the second and the fourth window; what alarms has changed, too."""
    streams = [np.array(each) for each in ([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0])]
    assert play(ProductRule(1.5, 2, 2), streams) == Tally(streams=3, alarm=2, changed=2, delays=(2, 4))
