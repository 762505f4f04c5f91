"""What the capture child writes down its pipe: length-prefixed packets of sound, or one last line saying why not."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
