"""Somebody who waits is told for what, how far it is and how long it will take."""

from __future__ import annotations

from edge_monitor.evaluate.progress import SplitProgress


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_a_network_says_which_machine_which_split_and_which_epoch() -> None:
    """Ten seconds between two lines; the time left is at the pace so far."""
    clock, lines = Clock(), list[str]()
    progress = SplitProgress(lines.append, clock)
    progress.begin("fan: autoencoder", 100)
    for _ in range(2):
        for epoch in range(1, 101):
            clock.now_s += 0.08
            progress.epoch(epoch, 100)
        progress.split()
    assert lines == ["fan: autoencoder: split 2 of 100, epoch 25 of 100, 13 min left"]
    progress.begin("fan: autoencoder", 1)
    clock.now_s += 20.0
    progress.epoch(50, 100)
    assert lines[1:] == ["fan: autoencoder: epoch 50 of 100, 20 s left"]


def test_splits_that_were_kept_do_not_make_the_rest_look_quick() -> None:
    """Sixty at once, then a minute each."""
    clock, lines = Clock(), list[str]()
    progress = SplitProgress(lines.append, clock)
    progress.begin("fan: spectral", 100)
    for _ in range(60):
        progress.split()
    clock.now_s += 60.0
    progress.split()
    assert lines == ["fan: spectral: split 61 of 100, 39 min left"]


def test_quick_splits_tell_nothing() -> None:
    """A hundred of them within ten seconds."""
    clock, lines = Clock(), list[str]()
    progress = SplitProgress(lines.append, clock)
    progress.begin("fan: spectral", 100)
    for _ in range(100):
        clock.now_s += 0.09
        progress.split()
    assert lines == []
