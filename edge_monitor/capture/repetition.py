"""Does the sound repeat itself exactly? A driver that hangs plays its ring again and again; pure.

No microphone hears the same thing twice: two stretches of its noise differ in nearly every sample. Kept are not the
samples but checksums of short pieces, at places that the sound itself chooses, so that they are found again wherever
the ring begins: content-defined chunking, as in A. Muthitacharoen, B. Chen & D. Mazieres, A Low-bandwidth Network File
System, SOSP 2001.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.records import AudioBlock, Samples

LONGEST_S = 12.0  # of a ring: those of sound servers hold at most ten seconds
SURE_S = 1.0  # of sound that was heard before
_PIECE = 256  # samples of one checksum, 5 ms at 48 kHz
_CHOOSES = 4  # successive samples whose hash makes a place
_CHOSEN_BITS = 9  # one sample in 512 is a place: 94 in a second at 48 kHz
_AT_ONCE_S = 0.25  # of sound is looked at together: short blocks would cost a call each
_SHARE = 0.9  # of the places of SURE_S, found again at one distance
_LEAST = 8  # places: fewer show nothing
# Odd numbers without a pattern: multiplicative hashing, Knuth, The Art of Computer Programming 3, 6.4.
_FACTORS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], dtype=np.uint32)


class RepetitionWatch:
    """Listens to one machine's blocks, in stream order, for what was heard before."""

    def __init__(self) -> None:
        self._begin()
        self._until_s = -np.inf  # stream time up to which it was heard to repeat itself
        self._period_s = 0.0

    def _begin(self) -> None:
        self._waiting: list[Samples] = []  # not looked at yet; the last piece's length of what was
        self._waiting_frames = 0
        self._heard = 0  # frames before those
        self._places: dict[int, int] = {}  # where a piece was heard last, by its checksum
        self._order: deque[tuple[int, int]] = deque()  # the same, oldest first
        self._again: deque[tuple[int, int]] = deque()  # places of SURE_S, and how far back each was heard; 0: never

    def hear(self, block: AudioBlock) -> None:
        """Take in a block at the source's own rate."""
        if block.gap:
            self._begin()
        self._waiting.append(block.samples)
        self._waiting_frames += len(block.samples)
        if self._waiting_frames < _AT_ONCE_S * block.rate_hz:
            return
        sound = np.concatenate(self._waiting)
        ready = len(sound) - _PIECE + 1  # places that have a whole piece after them
        for place in np.flatnonzero(_chosen(sound[: ready + _CHOOSES - 1])).tolist():
            piece = sound[place : place + _PIECE]
            if piece[0] != piece[1] or np.ptp(piece) > 0:  # a signal that stands still is another fault
                self._note(self._heard + place, zlib.crc32(piece.tobytes()), block.rate_hz)
        self._waiting, self._waiting_frames, self._heard = [sound[ready:]], len(sound) - ready, self._heard + ready
        period = self._period(block.rate_hz)
        if period:
            self._until_s, self._period_s = block.end_s, period / block.rate_hz

    def repeats(self, start_s: float) -> str | None:
        """Return in one line that the sound since `start_s`, stream time, has been heard before; None: it has not."""
        if self._until_s <= start_s:
            return None
        return f"the sound repeats itself exactly every {self._period_s:.2f} s: the driver plays an old buffer again"

    def _note(self, place: int, checksum: int, rate_hz: int) -> None:
        while self._order and self._order[0][0] < place - LONGEST_S * rate_hz:
            old, gone = self._order.popleft()
            if self._places.get(gone) == old:
                del self._places[gone]
        while self._again and self._again[0][0] < place - SURE_S * rate_hz:
            self._again.popleft()
        self._again.append((place, place - self._places.get(checksum, place)))
        self._places[checksum] = place
        self._order.append((place, checksum))

    def _period(self, rate_hz: int) -> int:
        """Return how far back nearly all of the last second was heard, frames; 0: it was not."""
        if len(self._again) < _LEAST or self._again[-1][0] - self._again[0][0] < _SHARE * SURE_S * rate_hz:
            return 0
        distance, count = Counter(back for _, back in self._again).most_common(1)[0]
        return distance if count >= _SHARE * len(self._again) else 0


def _chosen(sound: Samples) -> NDArray[np.bool_]:
    """Return at which samples, all but the last three, a place is: by the samples themselves, (frames - 3,) bool."""
    bits = np.ascontiguousarray(sound, dtype=np.float32).view(np.uint32)
    frames = len(bits) - _CHOOSES + 1
    mixed = np.zeros(frames, dtype=np.uint32)
    for number, factor in enumerate(_FACTORS):
        mixed += bits[number : number + frames] * factor  # modulo 2^32
    return np.asarray((mixed >> np.uint32(32 - _CHOSEN_BITS) == 0) & (mixed != 0))  # digital silence chooses none
