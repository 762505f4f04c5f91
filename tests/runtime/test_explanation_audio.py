"""Explaining beside a real microphone: a hundred alarms and an LLM that says nothing leave no gap in the sound."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from edge_monitor.alarm import history
from edge_monitor.pipeline.alarm_audio import AlarmAudio
from edge_monitor.records import AudioBlock, Embedding
from tests.broker import wait_until
from tests.explained import explain, inside, tapped
from tests.llm_server import LlmServer, stalls
from tests.runtime.test_explanation_load import alarm, store
from tests.sound_server import sound_server
from tests.sounds import pump

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.runtime.composition import Parts
    from tests.product import Product

    Make = Callable[..., Product]

ALARMS = 100
RATE_HZ = 16_000
MICROPHONE = f'{{ kind = "microphone", device = "default", rate_hz = {RATE_HZ} }}'
PLAYED_S, HEARD_S = 60.0, 10.0
QUIET = 1e-3  # of full scale: nothing is played


def listen(daemon: Parts, until: threading.Event) -> list[AudioBlock]:
    """Return the blocks of the pump's sound from now on; what is missing would be told by the next block."""
    return [item for item in tapped(daemon, until) if isinstance(item, AudioBlock)]


def raise_alarms(daemon: Parts) -> None:
    """Store a hundred alarms with one anomalous window each, and have all of them explained."""
    sound = pump(10, take=2, fault="rattle")
    embedding = Embedding(daemon.encoder.embed(sound[None, :])[0], daemon.node.bundle.bundle_hash)
    window = history.AnomalousWindow(0.0, 10.0, -30.0, embedding)
    events = [alarm(time.time_ns() // 1_000_000) for _ in range(ALARMS)]

    def write(connection: sqlite3.Connection) -> None:
        for event in events:
            store(connection, event, ("measured", daemon.node.prompts.method))
            history.add_windows(connection, event.alarm_id, [window])

    daemon.store.commit(write)
    for event in events:
        daemon.measuring.explain(event, AlarmAudio(sound, RATE_HZ, (), ()))


def noise() -> NDArray[np.float32]:
    """Return a sound no two parts of which are alike, so that a missing or repeated piece shows."""
    return np.random.default_rng(3).uniform(-0.3, 0.3, int(PLAYED_S * RATE_HZ)).astype(np.float32)


def places(heard: NDArray[np.float32], played: NDArray[np.float32], every: int = RATE_HZ // 2) -> list[int]:
    """Return for each half second that was heard how many samples later than played it came, by correlation."""
    found = []
    size = 1 << int(np.ceil(np.log2(len(played) + every)))
    spectrum = np.fft.rfft(played, size)
    for first in range(0, len(heard) - every, every):
        piece = heard[first : first + every]
        at = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, size)), size)
        found.append(int(np.argmax(at)) - first)
    return found


def test_explaining_leaves_no_gap_in_a_microphone_s_sound(enrolled: Make, tmp_path: Path) -> None:
    """While 100 alarms are explained and the LLM stalls, every sample that was played is heard, once and in order."""
    played = noise()
    soundfile.write(tmp_path / "noise.wav", played, RATE_HZ)
    with sound_server() as server, LlmServer(stalls(60.0)) as llm:
        tables = explain(tmp_path, llm.base_url, timeout_s=30.0)
        with inside(enrolled(MICROPHONE, extra='evidence = "off"\n', tables=tables).config) as daemon:
            over = threading.Event()
            heard: list[list[AudioBlock]] = []
            listener = threading.Thread(target=lambda: heard.append(listen(daemon, over)))
            listener.start()
            player = server.play(tmp_path / "noise.wav")
            raise_alarms(daemon)
            wait_until(lambda: llm.requests, 30.0, "a request to the LLM")
            time.sleep(HEARD_S)
            dropped = daemon.audio.dropped_frames
            over.set()
            listener.join()
            player.terminate()
            player.wait(10)
    [blocks] = heard
    assert dropped == 0
    assert daemon.pipeline.windows_dropped == 0
    assert [block.dropped_frames for block in blocks if block.dropped_frames or block.gap][1:] == []
    ends = [block.end_s for block in blocks[:-1]]
    assert np.allclose([block.start_s for block in blocks[1:]], ends, atol=0.5 / RATE_HZ)
    sound = np.concatenate([block.samples for block in blocks])
    begin = int(np.argmax(np.abs(sound) > QUIET))
    found = places(sound[begin:], played)
    assert len(found) >= HEARD_S  # half seconds; a busy box begins late
    assert max(found) - min(found) <= 2
