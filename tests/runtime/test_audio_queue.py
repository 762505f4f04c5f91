"""Sound reaches the pipeline whatever its source does, or its machine is said to be deaf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.records import AudioBlock, AudioLoss
from edge_monitor.runtime.audio_queue import AudioQueue

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clumsy:
    """A source whose first attempt dies after one block; the second gives another and ends."""

    machines: tuple[str, ...] = ("pump",)

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.attempts = 0
        self.closed = 0

    def items(self) -> Iterator[AudioBlock]:
        """Yield a block; the first time a failure follows."""
        self.attempts += 1
        yield AudioBlock("pump", np.zeros(800, dtype=np.float32), 16_000, float(self.attempts))
        if self.attempts == 1:
            raise RuntimeError("a driver's bug")

    def close(self) -> None:
        """Count."""
        self.closed += 1


def heard(feed: AudioQueue) -> list[str]:
    """Return what came, in order, until the sources have ended: where a block starts, or why sound was lost."""
    told = []
    while not feed.exhausted:
        item = feed.get(timeout_s=0.1)
        if item is not None:
            told.append(item.reason if isinstance(item, AudioLoss) else f"{item.start_s:g} s")
    return told


def test_a_microphone_s_thread_that_dies_begins_anew() -> None:
    """The machine is told to be deaf at once, a second later it is heard again, and the restart is counted."""
    feed, source = AudioQueue(), Clumsy(live=True)
    feed.follow(source)
    assert heard(feed) == ["1 s", "a driver's bug", "2 s"]
    [thread] = feed.threads()
    assert (thread.name, thread.restarts, thread.last_error) == ("source-pump", 1, "a driver's bug")
    assert feed.failure is None
    assert source.closed == 1


def test_a_recording_that_cannot_be_read_on_has_ended() -> None:
    """It would fail at the same place again: what ended it is kept for the exit code, and it is no live thread."""
    feed, source = AudioQueue(), Clumsy(live=False)
    feed.follow(source)
    assert heard(feed) == ["1 s"]
    with pytest.raises(RuntimeError, match="a driver's bug"):
        raise feed.failure or AssertionError
    assert feed.threads() == []
    assert (source.attempts, source.closed) == (1, 1)


def test_only_live_sound_is_ever_behind() -> None:
    """A recording is held back instead, however much of it waits."""
    feed = AudioQueue()
    feed.follow(Clumsy(live=False))
    assert (feed.live, feed.behind_s("pump"), feed.caught_up()) == (frozenset(), 0.0, True)
    feed = AudioQueue()
    feed._put(AudioBlock("pump", np.zeros(16_000, dtype=np.float32), 16_000, 0.0), live=True)
    feed.live = frozenset({"pump", "fan"})
    assert (feed.behind_s("pump"), feed.behind_s("fan"), feed.caught_up()) == (1.0, 0.0, False)
    feed.get(timeout_s=0.1)
    assert feed.caught_up()
