"""A real PortAudio stream from a real sound server: heard at the right pitch, and never silently deaf."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from edge_monitor.capture.devices import list_devices, resolve
from edge_monitor.capture.microphone import Microphone, open_microphones
from edge_monitor.config.machine import MicrophoneSource
from edge_monitor.errors import ConfigError
from edge_monitor.records import AudioBlock, AudioLoss
from tests.sound_server import SoundServer, microphone_server_fixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_monitor.records import Samples

__all__ = ["microphone_server_fixture"]  # pytest finds the fixture here


def settings(**fields: object) -> MicrophoneSource:
    """Return microphone settings as the configuration file would give them."""
    return MicrophoneSource.model_validate({"kind": "microphone", "device": "default", **fields})


@pytest.fixture(name="tone", scope="module")
def tone_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a stereo file of 20 s: 1 kHz at -12 dBFS peak on the left, 440 Hz at -26 on the right."""
    at_s = np.arange(20 * 48_000) / 48_000
    channels = [0.25 * np.sin(2 * np.pi * 1000 * at_s), 0.05 * np.sin(2 * np.pi * 440 * at_s)]
    path = tmp_path_factory.mktemp("tone") / "tone.wav"
    soundfile.write(path, np.stack(channels, axis=1), 48_000)
    return path


@pytest.fixture(name="playing")
def playing_fixture(microphone_server: SoundServer, tone: Path) -> Iterator[SoundServer]:
    """Provide the sound server while the tone is played: an input that gives nothing but zeros counts as dead."""
    player = microphone_server.play(tone)
    yield microphone_server
    player.terminate()
    player.wait()


def pitch_hz(samples: Samples, rate_hz: int) -> float:
    """Return the frequency of the strongest tone."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


def take_s(items: Iterator[AudioBlock | AudioLoss], machine: str, seconds: float) -> list[AudioBlock]:
    """Return a machine's next blocks of this much sound; a loss fails the test."""
    blocks: list[AudioBlock] = []
    for item in items:
        assert isinstance(item, AudioBlock), item
        if item.machine == machine:
            blocks.append(item)
            if sum(len(block.samples) / block.rate_hz for block in blocks) >= seconds:
                break
    return blocks


def test_two_machines_on_one_interface_hear_their_own_channel(microphone_server: SoundServer, tone: Path) -> None:
    """What is played comes in at its pitch and level, contiguous, each channel as its own machine."""
    group = {"left": settings(), "right": settings(channel=2, rate_hz=48_000)}
    (source,) = open_microphones(group)
    player = microphone_server.play(tone)
    items = source.items()
    try:
        take_s(items, "right", 1.0)
        blocks: dict[str, list[AudioBlock]] = {"left": [], "right": []}
        while sum(len(block.samples) for block in blocks["right"]) < 2 * 48_000:
            item = next(items)
            assert isinstance(item, AudioBlock)
            blocks[item.machine].append(item)
    finally:
        source.close()
        player.terminate()
        player.wait()
    for machine, hz, amplitude in (("left", 1000, 0.25), ("right", 440, 0.05)):
        heard = blocks[machine]
        samples = np.concatenate([block.samples for block in heard])
        assert pitch_hz(samples, 48_000) == pytest.approx(hz, abs=1)
        assert float(np.std(samples)) == pytest.approx(amplitude / 2**0.5, rel=0.03)
        assert not any(block.gap for block in heard)
        ends = [block.end_s for block in heard[:-1]]
        assert [block.start_s for block in heard[1:]] == pytest.approx(ends, abs=1e-6)
        assert heard[-1].end_s == pytest.approx(time.monotonic(), abs=2)
    assert list(items) == []


def test_a_killed_capture_process_is_a_loss_and_then_heard_again(microphone_server: SoundServer, tone: Path) -> None:
    """After SIGKILL every machine gets an AudioLoss, and sound comes back behind a gap of the right length."""
    source = Microphone("default", {"p": settings(rate_hz=16_000)})
    player = microphone_server.play(tone)
    items = source.items()
    try:
        before = take_s(items, "p", 1.0)[-1]
        pid = source.child_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        loss = next(item for item in items if isinstance(item, AudioLoss))
        after = take_s(items, "p", 0.1)[0]
        assert source.child_pid() not in {None, pid}
    finally:
        source.close()
        player.terminate()
        player.wait()
    assert (loss.machine, loss.reason) == ("p", "the capture process ended (code -9)")
    assert after.gap
    assert after.dropped_frames > 0
    assert 0.3 < after.start_s - before.end_s < 20
    assert list(items) == []


def test_a_stalled_capture_process_is_replaced(playing: SoundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that neither dies nor delivers is killed when patience ends."""
    del playing
    monkeypatch.setattr("edge_monitor.capture.microphone._STALL_S", 2.0)
    source = Microphone("default", {"p": settings(rate_hz=16_000)})
    items = source.items()
    try:
        take_s(items, "p", 0.5)
        pid = source.child_pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        loss = next(item for item in items if isinstance(item, AudioLoss))
        waited_s = time.monotonic() - begun
        assert isinstance(next(items), AudioBlock)
    finally:
        source.close()
    assert loss.reason == "the audio device gave no sound for 2 s"
    assert 1.5 < waited_s < 6


def test_a_slow_reader_loses_the_oldest_sound_and_knows_how_much(playing: SoundServer) -> None:
    """After five seconds without reading, the sound goes on behind a counted gap, not with a backlog."""
    del playing
    source = Microphone("default", {"p": settings(rate_hz=48_000)})
    items = source.items()
    try:
        before = take_s(items, "p", 0.5)[-1]
        time.sleep(5)
        blocks = take_s(items, "p", 4.0)
    finally:
        source.close()
    (number,) = [number for number, block in enumerate(blocks) if block.gap]
    gap = blocks[number]
    heard_s = sum(len(block.samples) for block in blocks[:number]) / 48_000
    assert gap.dropped_frames > 48_000
    assert before.end_s + heard_s + gap.dropped_frames / 48_000 == pytest.approx(gap.start_s, abs=0.3)
    assert blocks[-1].end_s == pytest.approx(time.monotonic(), abs=1.5)


def test_close_from_another_thread_ends_items_and_the_child(playing: SoundServer) -> None:
    """The pipeline stops within a second, and no process is left behind."""
    del playing
    source = Microphone("default", {"p": settings()})
    items = source.items()
    next(items)
    pid = source.child_pid()
    threading.Timer(0.3, source.close).start()
    begun = time.monotonic()
    assert all(isinstance(item, AudioBlock) for item in items)
    assert time.monotonic() - begun < 1.5
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_capture_process_ends_with_its_parent(playing: SoundServer) -> None:
    """A daemon that is killed leaves no child holding the device."""
    del playing
    script = (
        "from edge_monitor.capture.microphone import Microphone\n"
        "from edge_monitor.config.machine import MicrophoneSource\n"
        "source = Microphone('default', {'p': MicrophoneSource(kind='microphone', device='default')})\n"
        "next(items := source.items())\n"
        "print(source.child_pid(), flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    """Return whether the process runs; an orphan that nobody has reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - as short as it gets
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_device_that_is_not_there_is_a_loss_again_and_again(microphone_server: SoundServer) -> None:
    """The source says which inputs there are, and goes on trying."""
    del microphone_server
    (source,) = open_microphones({"p": settings(device="Zoom H6")})
    items = source.items()
    first, second = next(items), next(items)
    source.close()
    assert isinstance(first, AudioLoss)
    assert isinstance(second, AudioLoss)
    assert first.reason == second.reason == "no input device matches 'Zoom H6' (inputs: 'pulse', 'default')"
    assert second.at_s > first.at_s


def test_devices_are_listed_by_a_fresh_process(microphone_server: SoundServer) -> None:
    """The default input is marked, and the command prints what the configuration takes."""
    del microphone_server
    assert resolve(list_devices(), "default").identity == "default"
    code = "from edge_monitor.cli.main import main; main()"
    told = subprocess.run([sys.executable, "-c", code, "devices", "--json"], capture_output=True, text=True, check=True)
    assert [device["identity"] for device in json.loads(told.stdout) if device["is_default"]] == ["default"]


def test_one_interface_at_two_rates_is_refused(microphone_server: SoundServer) -> None:
    """The configuration asks for what cannot be."""
    del microphone_server
    with pytest.raises(ConfigError, match=r"device 'default': one rate_hz per device, not \[16000, 48000\]"):
        open_microphones({"a": settings(rate_hz=16_000), "b": settings(rate_hz=48_000)})
