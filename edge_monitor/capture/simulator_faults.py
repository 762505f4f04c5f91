"""The faults a simulated machine can have, each with its physical signature; the simulation sets their level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_monitor.capture.simulator_machine import Chunk
    from edge_monitor.records import Samples


class Fault(Protocol):
    """An added sound that follows the machine's shaft."""

    band_hz: tuple[float, float]  # where it is loud

    def next_chunk(self, part: Chunk) -> Samples:
        """Return the fault's sound (frames,) float32 during this stretch of healthy sound."""


def make_fault(kind: str, seed: int, take: int, rate_hz: int) -> Fault:
    """Return a fault of ADDED_FAULTS; the same seed gives the same defect, another take another stretch of it."""
    individual = np.random.default_rng((seed & 0xFFFFFFFF, 3))
    random = np.random.Generator(np.random.SFC64((seed & 0xFFFFFFFF, take, 4)))
    return _FAULTS[kind](individual, random, rate_hz)


class _Ringing:
    """Adds short responses at given moments and carries what rings on into the next chunk."""

    def __init__(self, responses: NDArray[np.float32]) -> None:
        self._responses = responses  # (kind, frames)
        self._rest = np.zeros(responses.shape[1], dtype=np.float32)

    def next_chunk(
        self, frames: int, at: NDArray[np.int64], gains: NDArray[np.float64], kinds: NDArray[np.int64]
    ) -> Samples:
        """Return (frames,) of every response so far; impacts at frames `at`, each with its gain and kind."""
        length = self._responses.shape[1]
        out = np.zeros(frames + length, dtype=np.float32)
        out[:length] += self._rest
        if len(at):
            places = at[:, None] + np.arange(length)  # (impact, frame)
            values = self._responses[kinds] * gains[:, None]
            out += np.bincount(places.ravel(), values.ravel(), len(out))[: len(out)].astype(np.float32)
        self._rest = out[frames:]
        return out[:frames]


class _Bearing:
    """An outer-race defect: an impact each time a ball passes it, ringing a resonance, louder in the load zone.

    Randall and Antoni, Rolling element bearing diagnostics - a tutorial (2011): slip of 1 to 2 %, resonance in kHz.
    """

    def __init__(self, individual: np.random.Generator, random: np.random.Generator, rate_hz: int) -> None:
        self._random = random
        self.impacts_per_turn = individual.uniform(3.05, 4.95)  # BPFO of 8 to 12 balls, in shaft orders
        resonance_hz = individual.uniform(2400, 4200)
        self.band_hz = (resonance_hz * 0.75, resonance_hz * 1.25)
        decay_s = 0.0012
        at_s = np.arange(round(8 * decay_s * rate_hz)) / rate_hz
        ring = np.exp(-at_s / decay_s) * np.sin(2 * np.pi * resonance_hz * at_s)
        self._ringing = _Ringing(ring[None, :].astype(np.float32))

    def next_chunk(self, part: Chunk) -> Samples:
        """Return the impacts of the balls that pass the defect."""
        passes = np.floor(part.turns * self.impacts_per_turn)
        at = np.flatnonzero(np.diff(passes) > 0) + 1
        count = len(at)
        slip = np.round(self._random.normal(0, 1, count) * 2).astype(np.int64)  # frames
        zone = 1 + 0.5 * np.sin(2 * np.pi * part.turns[at])
        gains = zone * self._random.lognormal(0, 0.25, count) * part.speed[at]
        at = np.clip(at + slip, 0, len(part.turns) - 1)
        return self._ringing.next_chunk(len(part.turns), at, gains, np.zeros(count, dtype=np.int64))


class _Cavitation:
    """Vapour bubbles that collapse at random: short broadband cracks in the kHz, more of them with each vane."""

    _PER_S = 350.0

    def __init__(self, individual: np.random.Generator, random: np.random.Generator, rate_hz: int) -> None:
        self._random, self._rate_hz = random, rate_hz
        self.band_hz = (2500.0, 7000.0)
        at_s = np.arange(round(0.002 * rate_hz)) / rate_hz
        cracks = individual.standard_normal((16, len(at_s)))
        hz = np.fft.rfftfreq(len(at_s), 1 / rate_hz)
        shape = np.exp(-0.5 * ((hz - 4500) / 1500) ** 2)
        cracks = np.fft.irfft(np.fft.rfft(cracks) * shape, len(at_s)) * np.exp(-at_s / 0.0006)
        self._ringing = _Ringing(cracks.astype(np.float32))

    def next_chunk(self, part: Chunk) -> Samples:
        """Return the bubbles that collapse."""
        frames = len(part.turns)
        count = int(self._random.poisson(self._PER_S * frames / self._rate_hz))
        at = np.sort(self._random.integers(0, frames, count))
        # Few collapses are violent, most are faint.
        gains = self._random.exponential(1.0, count) * part.speed[at] ** 2
        return self._ringing.next_chunk(frames, at, gains, self._random.integers(0, 16, count))


class _Belt:
    """A slipping belt: a stick-slip squeal in the kHz that wavers with each turn of the belt and comes in bouts."""

    def __init__(self, individual: np.random.Generator, random: np.random.Generator, rate_hz: int) -> None:
        self._random, self._rate_hz = random, rate_hz
        self._squeal_hz = individual.uniform(1300, 2900)
        self._belt_per_turn = individual.uniform(0.2, 0.4)
        self.band_hz = (self._squeal_hz * 0.9, self._squeal_hz * 1.1)
        self._phase = 0.0
        self._bout = 0.8

    def next_chunk(self, part: Chunk) -> Samples:
        """Return the belt's squeal."""
        waver = 1 + 0.02 * np.sin(2 * np.pi * self._belt_per_turn * part.turns)
        hz = self._squeal_hz * waver * (0.5 + 0.5 * part.speed)
        phase = self._phase + np.cumsum(hz) / self._rate_hz
        self._phase = float(phase[-1] % 1.0)
        bout = float(np.clip(0.6 * self._bout + 0.4 * self._random.uniform(0.2, 1.4), 0.1, 1.2))
        gain = np.linspace(self._bout, bout, len(phase)) * part.speed
        self._bout = bout
        angle = (2 * np.pi * phase).astype(np.float32)
        return (gain * (np.sin(angle) + 0.3 * np.sin(2 * angle))).astype(np.float32)


class _Rattle:
    """A loose part: irregular knocks in quick groups, each ringing a few metal modes."""

    _GROUPS_PER_S = 3.0

    def __init__(self, individual: np.random.Generator, random: np.random.Generator, rate_hz: int) -> None:
        self._random, self._rate_hz = random, rate_hz
        self.band_hz = (1000.0, 3600.0)
        at_s = np.arange(round(0.03 * rate_hz)) / rate_hz
        knocks = []
        for _ in range(8):
            modes = individual.uniform(1100, 3500, 3)
            tones = [np.sin(2 * np.pi * hz * at_s + individual.uniform(0, 6)) for hz in modes]
            knocks.append(sum(tones) * np.exp(-at_s / 0.006))
        self._ringing = _Ringing(np.array(knocks, dtype=np.float32))

    def next_chunk(self, part: Chunk) -> Samples:
        """Return the loose part's knocks."""
        frames = len(part.turns)
        groups = int(self._random.poisson(self._GROUPS_PER_S * frames / self._rate_hz))
        sizes = self._random.integers(1, 5, groups)
        starts = np.repeat(self._random.integers(0, frames, groups), sizes)
        at = np.sort(starts + (self._random.exponential(0.025, len(starts)) * self._rate_hz).astype(np.int64))
        at = np.minimum(at, frames - 1)
        gains = self._random.lognormal(0, 0.35, len(at)) * part.speed[at]
        return self._ringing.next_chunk(frames, at, gains, self._random.integers(0, 8, len(at)))


class _Imbalance:
    """Mass off the axis: the shaft's own tone and its first harmonics rise."""

    def __init__(self, individual: np.random.Generator, _random: np.random.Generator, _rate_hz: int) -> None:
        self.band_hz = (15.0, 160.0)
        self._phases = individual.uniform(0, 2 * np.pi, 3)

    def next_chunk(self, part: Chunk) -> Samples:
        """Return the shaft's tone and its harmonics."""
        angle = 2 * np.pi * (part.turns % 1.0)
        first, second, third = self._phases
        sound = np.sin(angle + first) + 0.45 * np.sin(2 * angle + second) + 0.2 * np.sin(3 * angle + third)
        sound *= part.speed**2  # the force grows with the square of the speed
        out: Samples = sound.astype(np.float32)
        return out


_FAULTS: dict[str, Callable[[np.random.Generator, np.random.Generator, int], Fault]] = {
    "bearing": _Bearing,
    "cavitation": _Cavitation,
    "belt": _Belt,
    "rattle": _Rattle,
    "imbalance": _Imbalance,
}
ADDED_FAULTS = tuple(_FAULTS)  # those that add sound
