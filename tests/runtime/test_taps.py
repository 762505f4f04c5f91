"""Whoever listens to the stream gets its own machine's items, and holds nobody up."""

from __future__ import annotations

from edge_monitor.records import AudioLoss
from edge_monitor.runtime.taps import Taps


def test_a_listener_gets_its_machine_s_items_while_it_listens() -> None:
    """What came before it listened, of another machine, or after it left, it does not get."""
    taps = Taps()
    taps.put(AudioLoss("pump", 0.0, "before"))
    with taps.open("pump") as tap:
        taps.put(AudioLoss("pump", 1.0, "mine"))
        taps.put(AudioLoss("fan", 1.0, "another's"))
    taps.put(AudioLoss("pump", 2.0, "after"))
    assert [tap.get_nowait() for _ in range(tap.qsize())] == [AudioLoss("pump", 1.0, "mine")]


def test_a_listener_that_does_not_read_misses_items_and_the_others_miss_none() -> None:
    """Nobody waits for it: 256 items are kept for it, the newer ones are not."""
    taps = Taps()
    with taps.open("pump") as idle, taps.open("pump") as busy:
        got = []
        for number in range(300):
            taps.put(AudioLoss("pump", float(number), ""))
            got.append(busy.get_nowait())
        assert len(got) == 300
        assert idle.qsize() == 256
