"""Microphones: the parent's side of the capture children, one per audio interface."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.devices import list_devices, resolve
from edge_monitor.capture.live_clock import LiveClock
from edge_monitor.capture.microphone_child import FAILED, Packet, PacketReader
from edge_monitor.errors import AudioError, ConfigError, PortAudioMissingError
from edge_monitor.records import AudioBlock, AudioLoss

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from edge_monitor.capture.devices import Device
    from edge_monitor.config.machine import MicrophoneSource

_STALL_S = 5.0  # an unplugged device may just go quiet: PortAudio has no disconnect callback
_START_S = 10.0  # opening a device may take a while on a loaded box
_GONE_S = 2.0  # a killed child may be held by a broken driver: it is left behind
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 5.0
_POLL_S = 0.2
_READ_BYTES = 1 << 18


def open_microphones(microphones: Mapping[str, MicrophoneSource]) -> list[Microphone]:
    """Return one source per audio interface for these machines (by name).

    Raises PortAudioMissingError, and ConfigError when a device is asked for at two rates. A device that is not there,
    is ambiguous or has no such channel is no error: what is plugged in changes, so the source says why it is deaf and
    goes on trying, and the other machines are heard.
    """
    try:
        present = list_devices()
    except PortAudioMissingError:
        raise
    except AudioError:
        present = []  # the sources will say why, and go on trying
    groups: dict[str, tuple[str, dict[str, MicrophoneSource]]] = {}
    for machine, settings in microphones.items():
        device = _find(present, settings.device)
        groups.setdefault(device.casefold(), (device, {}))[1][machine] = settings
    return [Microphone(device, group) for device, group in groups.values()]


def _find(present: list[Device], text: str) -> str:
    if text.casefold() == "default":
        return text  # the default input may be another one tomorrow
    try:
        return resolve(present, text).identity
    except (AudioError, ConfigError):
        return text


@dataclass
class _Stream:
    """One run of the child process."""

    process: subprocess.Popen[bytes]
    reader: PacketReader = field(default_factory=PacketReader)
    came_s: float = field(default_factory=time.monotonic)  # when the last packet came, monotonic seconds
    opened: bool = False  # packets come
    heard: bool = False  # with sound in them
    zeros_s: float = 0.0  # of digital zeros since there last was sound, seconds

    def take(self, packet: Packet) -> None:
        """Take note of a packet."""
        self.came_s = time.monotonic()
        self.opened = True
        if any(packet.payload):
            self.heard, self.zeros_s = True, 0.0
        else:
            self.zeros_s += len(packet.payload) / (4 * packet.channels * packet.rate_hz)

    def stalled(self) -> str | None:
        """Return why a stream has to be given up that has nothing to read, or None."""
        patience_s = _STALL_S if self.opened else _START_S
        if time.monotonic() - self.came_s <= patience_s:
            return None
        return f"the audio device gave no sound for {patience_s:.0f} s"


def _code(process: subprocess.Popen[bytes]) -> int | str:
    try:
        return process.wait(_GONE_S)
    except subprocess.TimeoutExpired:
        return "unknown"  # it has closed its pipe and hangs


class Microphone:
    """Channels of one audio interface, each of them one machine's sound, read from a child process.

    A child that dies, stalls or cannot open its device becomes an AudioLoss for every machine and is started again, for
    ever, at most 5 s apart. Stream time is the monotonic clock's; see `LiveClock`.
    """

    live = True

    def __init__(self, device: str, channels: Mapping[str, MicrophoneSource]) -> None:
        rates = {settings.rate_hz for settings in channels.values() if settings.rate_hz is not None}
        if len(rates) > 1:
            raise ConfigError(f"one rate_hz per device, not {sorted(rates)}", where=f"device {device!r}")
        self.machines = tuple(channels)
        self._channels = {machine: settings.channel for machine, settings in channels.items()}
        self._command = [sys.executable, "-m", "edge_monitor.capture.microphone_child", "--device", device]
        self._command += ["--channels", str(max(self._channels.values()))]
        self._command += [f"--rate={rate}" for rate in rates]
        self._clock = LiveClock()
        self._stopped = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def child_pid(self) -> int | None:
        """Return the process id of the capture child, or None while there is none."""
        return None if self._child is None else self._child.pid

    def items(self) -> Iterator[AudioBlock | AudioLoss]:
        """Yield blocks, and losses while there is nothing to hear; see `Source.items`."""
        retry_s = _FIRST_RETRY_S
        while not self._stopped.is_set():
            heard = False
            try:
                stream = self._start()
            except OSError as error:
                reason: str | None = f"the capture process cannot be started: {error.strerror}"
            else:
                try:
                    reason = yield from self._listen(stream)
                finally:
                    self._end(stream.process)
                heard = stream.heard
            if reason is None:
                return
            now_s = time.monotonic()
            for machine in self.machines:
                yield AudioLoss(machine, now_s, reason)
            retry_s = _FIRST_RETRY_S if heard else min(2 * retry_s, _LAST_RETRY_S)
            self._stopped.wait(retry_s)

    def close(self) -> None:
        """End `items` within a fraction of a second."""
        self._stopped.set()

    def _start(self) -> _Stream:
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._child = process
        return _Stream(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._child = None
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GONE_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _listen(self, stream: _Stream) -> Generator[AudioBlock, None, str | None]:
        """Yield blocks until the stream breaks; return why, or None when the source is closed."""
        pipe = stream.process.stdout
        assert pipe is not None  # noqa: S101 - it was asked for
        while not self._stopped.is_set():
            if not select.select([pipe], [], [], _POLL_S)[0]:
                stalled = stream.stalled()
                if stalled is not None:
                    return stalled
                continue
            data = os.read(pipe.fileno(), _READ_BYTES)
            if not data:
                return f"the capture process ended (code {_code(stream.process)})"
            for packet in stream.reader.feed(data):
                if packet.kind == FAILED:
                    return packet.payload.decode(errors="replace")
                first = not stream.heard
                stream.take(packet)
                # A sound server moves the stream of an unplugged device to a silent one, and never back.
                if stream.zeros_s > _STALL_S:
                    return f"the audio device gave nothing but zeros for {_STALL_S:.0f} s"
                if stream.heard:  # leading zeros are held back: else a dead input would have two states in turns
                    yield from self._blocks(packet, first=first)
        return None

    def _blocks(self, packet: Packet, *, first: bool) -> Iterator[AudioBlock]:
        frames = np.frombuffer(packet.payload, dtype="<f4").reshape(-1, packet.channels)  # (frame, channel)
        timing = self._clock.label(
            packet.first_ns / 1e9,
            len(frames),
            packet.rate_hz,
            dropped_frames=packet.dropped_frames,
            lost=first or packet.overflow,
        )
        for machine, channel in self._channels.items():
            yield AudioBlock(
                machine=machine,
                samples=np.ascontiguousarray(frames[:, channel - 1], dtype=np.float32),
                rate_hz=packet.rate_hz,
                start_s=timing.start_s,
                gap=timing.gap,
                dropped_frames=timing.dropped_frames,
            )
