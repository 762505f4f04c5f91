"""One contract for every source: microphone, recording and simulator."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from edge_monitor.capture.source import open_sources
from edge_monitor.config.machine import MachineSettings
from edge_monitor.records import AudioBlock
from tests.sound_server import sound_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.capture.source import Source


def machine(name: str, **source: object) -> MachineSettings:
    """Return a machine as the configuration file would give it."""
    return MachineSettings.model_validate({"name": name, "source": source})


@pytest.fixture(params=["recording", "simulator", "microphone"], name="source")
def source_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """Provide each kind of source for a machine named pump-3, in real time."""
    noise = np.random.default_rng(0).normal(0, 0.1, (44_100 * 20, 2))
    soundfile.write(tmp_path / "noise.wav", noise, 44_100)
    if request.param == "recording":
        (opened,) = open_sources([machine("pump-3", kind="recording", path=tmp_path, channel=2)])
        yield opened
    elif request.param == "simulator":
        (opened,) = open_sources([machine("pump-3", kind="simulator", machine="fan")])
        yield opened
    else:
        with sound_server() as server, server.play(tmp_path / "noise.wav") as player:
            (opened,) = open_sources([machine("pump-3", kind="microphone", device="default", channel=1)])
            yield opened
            player.terminate()
    opened.close()


def test_blocks_are_contiguous_short_mono_and_timed(source: Source) -> None:
    """Three seconds of sound: only the first block is behind a gap, and each starts where the last ended."""
    blocks: list[AudioBlock] = []
    for item in source.items():
        assert isinstance(item, AudioBlock), item
        blocks.append(item)
        if len(blocks) == 15:
            break
    source.close()
    assert source.machines == ("pump-3",)
    assert {block.machine for block in blocks} == {"pump-3"}
    assert {block.samples.dtype for block in blocks} == {np.dtype(np.float32)}
    assert {block.samples.ndim for block in blocks} == {1}
    assert all(0.02 <= len(block.samples) / block.rate_hz <= 0.26 for block in blocks)
    assert [block.gap for block in blocks] == [True] + [False] * 14
    ends = [block.end_s for block in blocks[:-1]]
    assert [block.start_s for block in blocks[1:]] == pytest.approx(ends, abs=1e-6)
    assert not any(block.last for block in blocks)
    assert (blocks[0].start_s == 0.0) is not source.live


def test_close_ends_a_waiting_source_and_may_be_repeated(source: Source) -> None:
    """From another thread, `close` ends `items` within a second."""
    items = source.items()
    next(items)
    threading.Timer(0.2, source.close).start()
    begun = time.monotonic()
    for _ in items:
        assert time.monotonic() - begun < 5
    assert time.monotonic() - begun < 1.5
    source.close()


@pytest.mark.parametrize(("pace", "least_s", "most_s"), [("max", 0.0, 0.5), (10, 0.25, 1.5), ("realtime", 2.5, 4.5)])
def test_stored_sound_keeps_its_pace(pace: str | int, least_s: float, most_s: float) -> None:
    """Three simulated seconds take no time, a tenth, or three seconds, and end with a last block."""
    (source,) = open_sources([machine("p", kind="simulator", seconds=3, pace=pace)])
    begun = time.monotonic()
    blocks = [item for item in source.items() if isinstance(item, AudioBlock)]
    assert least_s <= time.monotonic() - begun <= most_s
    assert sum(len(block.samples) for block in blocks) == 48_000
    assert [block.last for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_machines_on_one_interface_share_one_source() -> None:
    """Two channels of one device are one capture child; other sources are one each."""
    with sound_server():
        sources = open_sources(
            [
                machine("a", kind="microphone", device="default", channel=1),
                machine("s", kind="simulator"),
                machine("b", kind="microphone", device="Default", channel=2),
                machine("c", kind="microphone", device="nowhere"),
            ]
        )
    assert sorted(source.machines for source in sources) == [("a", "b"), ("c",), ("s",)]
    assert [source.live for source in sources if source.machines == ("s",)] == [False]
