"""The capture child: one audio interface in a process of its own, its sound written to stdout as packets.

They are length-prefixed: sound, or one last line saying why not.
PortAudio can hang and its device list is frozen, so the parent kills and restarts this process as a whole. The callback
copies, queues and counts; a slow reader loses the oldest sound, counted. It ends with its parent.
"""

from __future__ import annotations

import argparse
import os
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from edge_monitor.capture.devices import load_portaudio, query_devices, resolve
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_S = 0.025  # a window waits for the block its end lies in: this much of an alert's latency
_QUEUE_S = 3.0  # of sound kept for a slow reader; older sound is dropped
SOUND, FAILED = 1, 2
# kind, channels, flags, rate (Hz), monotonic ns of the first frame, frames dropped just before it, payload bytes
_HEADER = struct.Struct("<BBHIqQI")
_OVERFLOW = 1  # the driver says that it lost sound just before this packet, not how much


@dataclass(frozen=True, slots=True)
class Packet:
    """Interleaved little-endian float32 frames, or a failure's one line in UTF-8."""

    kind: int
    payload: bytes
    channels: int = 0
    rate_hz: int = 0
    first_ns: int = 0  # monotonic clock at the first frame
    dropped_frames: int = 0  # lost just before this packet because nobody took them
    overflow: bool = False  # the driver lost an unknown number of frames just before this packet

    def pack(self) -> bytes:
        """Return the packet as bytes."""
        flags = _OVERFLOW if self.overflow else 0
        head = (self.kind, self.channels, flags, self.rate_hz, self.first_ns, self.dropped_frames, len(self.payload))
        return _HEADER.pack(*head) + self.payload


class PacketReader:
    """Takes bytes as they come and gives the packets that are complete."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Yield every packet that these bytes complete."""
        self._pending += data
        while len(self._pending) >= _HEADER.size:
            kind, channels, flags, rate_hz, first_ns, dropped, size = _HEADER.unpack_from(self._pending)
            end = _HEADER.size + size
            if len(self._pending) < end:
                return
            payload = bytes(self._pending[_HEADER.size : end])
            del self._pending[:end]
            yield Packet(kind, payload, channels, rate_hz, first_ns, dropped, overflow=bool(flags & _OVERFLOW))


class _Status(Protocol):
    """What PortAudio says of the block it delivers."""

    input_overflow: bool


class _Queue:
    """A bounded queue of packets that drops the oldest, and knows how many frames went with them."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz, self._channels = rate_hz, channels
        self._packets: deque[Packet] = deque()
        self._dropped_frames = 0
        self._overflow = False
        self._lock = threading.Lock()
        self._filled = threading.Event()

    def put(self, data: bytes, first_ns: int, *, overflow: bool) -> None:
        """Add a block; never waits for the reader."""
        packet = Packet(SOUND, data, self._channels, self._rate_hz, first_ns, overflow=overflow)
        with self._lock:
            if len(self._packets) >= _QUEUE_S / _BLOCK_S:
                oldest = self._packets.popleft()
                self._dropped_frames += len(oldest.payload) // (4 * self._channels)
                self._overflow |= oldest.overflow
            self._packets.append(packet)
        self._filled.set()

    def take(self, timeout_s: float) -> Packet | None:
        """Return the oldest packet with what was dropped before it, or None when nothing came in time."""
        if not self._filled.wait(timeout_s):
            return None
        with self._lock:
            packet = self._packets.popleft()
            dropped, self._dropped_frames = self._dropped_frames, 0
            overflow, self._overflow = self._overflow or packet.overflow, False
            if not self._packets:
                self._filled.clear()
        return replace(packet, dropped_frames=dropped, overflow=overflow)


def _capture(text: str, channels: int, rate_hz: int | None, out: int) -> None:
    sounddevice = load_portaudio()
    device = resolve(query_devices(sounddevice), text)
    if channels > device.channels:
        raise EdgeMonitorError(f"{device.identity} has {device.channels} channels, not {channels}")
    rate_hz = rate_hz or device.default_rate_hz
    queue = _Queue(rate_hz, channels)

    def callback(data: memoryview, frames: int, _time: object, status: _Status) -> None:
        first_ns = time.monotonic_ns() - frames * 1_000_000_000 // rate_hz
        queue.put(bytes(data), first_ns, overflow=bool(status.input_overflow))

    try:
        with sounddevice.RawInputStream(
            samplerate=rate_hz,
            blocksize=round(_BLOCK_S * rate_hz),
            device=device.index,
            channels=channels,
            dtype="float32",
            latency="high",  # a monitor has time; the driver's buffer rides out a busy processor
            callback=callback,
        ) as stream:
            while stream.active:
                packet = queue.take(timeout_s=1.0)
                if packet is not None:
                    _write(out, packet.pack())
    except sounddevice.PortAudioError as error:
        raise EdgeMonitorError(f"{device.identity} cannot be opened at {rate_hz} Hz: {error.args[0]}") from error


def _end_with_parent() -> None:
    """End this process, hung or not, when stdin is closed; the parent never writes to it."""
    os.read(0, 1)
    os._exit(0)


def _write(out: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]


def main() -> None:
    """Capture until the parent goes away; failures become the last packet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--channels", type=int, required=True)
    parser.add_argument("--rate", type=int)
    arguments = parser.parse_args()
    # Libraries below PortAudio print to stdout: the packets keep a copy of it, the rest goes to stderr.
    out = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _capture(arguments.device, arguments.channels, arguments.rate, out)
    except BrokenPipeError:
        pass  # the parent is gone
    except EdgeMonitorError as error:
        _write(out, Packet(FAILED, str(error).encode()).pack())
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to say why it is deaf
        _write(out, Packet(FAILED, f"{type(error).__name__}: {error}".encode()).pack())
    os._exit(0)  # PortAudio's own clean-up may hang


if __name__ == "__main__":
    main()
