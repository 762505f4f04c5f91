"""The healthy simulated machine: shaft, blades or teeth, flow noise, and the factory around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.config.machine import SimulatorSource
    from edge_monitor.records import Samples

CHUNK_S = 0.512  # load and speed are drawn this often and interpolated between
_SPEED_OF_IMPACT = 0.25  # sounds of a stopped machine fade out below this part of full speed
_COAST_S, _RUN_UP_S = 4.0, 3.0  # after a stop, after a start


@dataclass(frozen=True, slots=True)
class _Design:
    """What makes a pump a pump."""

    shaft_hz: float  # a two- or four-pole motor with slip
    passes: int  # blades, vanes or teeth: the pass or mesh is at this multiple of the shaft
    harmonics: tuple[float, ...]  # relative levels of 1x, 2x, … shaft, dB
    pass_harmonics: tuple[float, ...]  # of 1x, 2x, … pass or mesh, dB
    sidebands_db: float | None  # of the mesh at ± shaft; None = none
    flow_hz: tuple[float, float]  # centre and width (octaves) of the flow or friction noise
    flow_db: float  # its level, over the tones together


_DESIGNS = {
    "pump": _Design(48.5, 7, (0, -6, -10, -14), (-2, -8, -14), None, (900.0, 2.2), 5.0),
    "fan": _Design(24.3, 9, (0, -8, -12), (0, -6, -12, -18), None, (450.0, 2.6), 7.0),
    "gearbox": _Design(24.6, 27, (-4, -8, -12, -14), (0, -5, -11), -9.0, (1600.0, 1.8), 0.0),
}
_LEVEL_DBFS = -32.0  # the machine alone at full load: 5 to 10 dB above MIMII's recordings, with room for impacts
_BACKGROUND_DB = -16.0  # the factory under the machine
_LOWEST_HZ = 20.0  # microphones roll off below
_PULSATION = 0.15  # the flow noise swells with each blade


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of healthy sound, and what a fault needs to know of the machine while it was made."""

    samples: Samples  # (frames,) float32
    turns: NDArray[np.float64]  # (frames,) shaft angle in turns
    speed: NDArray[np.float64]  # (frames,) part of full speed, 0 = stopped


class HealthyMachine:
    """Generates one machine's healthy sound, `chunk` frames at a time."""

    def __init__(self, settings: SimulatorSource, rate_hz: int, chunk: int) -> None:
        self._rate_hz, self._chunk = rate_hz, chunk
        design = _DESIGNS[settings.machine]
        individual = np.random.default_rng((settings.seed & 0xFFFFFFFF, 1))
        self._random = np.random.Generator(np.random.SFC64((settings.seed & 0xFFFFFFFF, settings.take, 2)))
        self.shaft_hz = design.shaft_hz * individual.uniform(0.97, 1.03)
        self._cycle_s = individual.uniform(60, 150)  # the plant's load cycle
        self._cycle_at = self._random.uniform()
        self._tones = _tones(design, individual, self.shaft_hz, rate_hz)
        self._passes = design.passes
        machine = 10 ** (_LEVEL_DBFS / 20)
        flow_share = 10 ** (design.flow_db / 10) / (1 + 10 ** (design.flow_db / 10))
        self._tone_gain = machine * math.sqrt(1 - flow_share)
        hz = np.asarray(np.fft.rfftfreq(2 * chunk, 1 / rate_hz), dtype=np.float64)
        self._flow = _Noise(self._random, _flow_shape(hz, design, individual), machine * math.sqrt(flow_share))
        self._factory = _Noise(self._random, _pink_shape(hz), machine * 10 ** (_BACKGROUND_DB / 20))
        self._events = _Events(self._random, individual, machine * 10 ** (_BACKGROUND_DB / 20), rate_hz)
        self._stops = settings.stops
        self._frames = 0
        self._turns = 0.0
        self._wander = np.zeros(2)  # slow random parts of load and speed
        self._load, self._slip = self._draw(0.0)

    def _draw(self, at_s: float) -> tuple[float, float]:
        """Return load (0.7 to 1) and relative speed at this time: a cycle plus a random walk that is pulled back."""
        pull = math.exp(-CHUNK_S / 8.0)
        self._wander = pull * self._wander + math.sqrt(1 - pull * pull) * self._random.standard_normal(2)
        cycle = math.sin(2 * math.pi * (at_s / self._cycle_s + self._cycle_at))
        load = min(1.0, max(0.7, 0.85 + 0.1 * cycle + 0.02 * self._wander[0]))
        return load, 1.0 - 0.012 * (load - 0.85) + 0.001 * float(self._wander[1])

    def next_chunk(self, flow_gain: float) -> Chunk:
        """Return the next stretch; `flow_gain` below 1 is a loss of flow."""
        frames = np.arange(self._chunk)
        start_s = self._frames / self._rate_hz
        self._frames += self._chunk
        before_load, before_slip = self._load, self._slip
        self._load, self._slip = self._draw(start_s + self._chunk / self._rate_hz)
        part = frames / self._chunk
        speed = before_slip + (self._slip - before_slip) * part
        if self._stops:
            speed = speed * _running(start_s + frames / self._rate_hz, self._stops)
        turns = self._turns + np.cumsum(speed) * (self.shaft_hz / self._rate_hz)
        self._turns = float(turns[-1] % 1e6)
        load = before_load + (self._load - before_load) * part
        angle = ((turns % 1.0) * 2 * np.pi).astype(np.float32)
        tones = np.zeros(self._chunk, dtype=np.float32)
        for order, level, phase in self._tones:
            tones += np.float32(level) * np.sin(np.float32(order) * angle + np.float32(phase))
        # Radiated tones grow about as speed^1.5, flow noise as speed^2.5 (a dipole's sixth power of velocity, damped).
        tones *= (self._tone_gain * load * speed**1.5).astype(np.float32)
        flow = self._flow.next_chunk(flow_gain)
        swell = 1 + np.float32(_PULSATION) * np.sin(np.float32(self._passes) * angle)
        flow *= swell * (load**1.5 * speed**2.5).astype(np.float32)
        samples = tones + flow + self._factory.next_chunk(1.0)
        self._events.add_to(samples)
        return Chunk(samples, turns, speed)


def _running(at_s: NDArray[np.float64], stops: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Return the part of full speed at these times: down within 4 s after each stop, up within 3 s after each start."""
    speed = np.ones_like(at_s)
    for stop_s, start_s in stops:
        down = np.clip(1 - (at_s - stop_s) / _COAST_S, 0, 1)
        up = np.clip((at_s - start_s) / _RUN_UP_S, 0, 1)
        speed = np.minimum(speed, np.maximum(down, up))
    speed[speed < _SPEED_OF_IMPACT / 10] = 0
    return speed


def _tones(
    design: _Design, individual: np.random.Generator, shaft_hz: float, rate_hz: int
) -> list[tuple[float, float, float]]:
    """Return (order of the shaft, amplitude, phase) of every tone below Nyquist, together of power 1."""
    orders: list[tuple[float, float]] = [(k + 1, db) for k, db in enumerate(design.harmonics)]
    for k, db in enumerate(design.pass_harmonics):
        mesh = (k + 1) * design.passes
        orders.append((mesh, db))
        if design.sidebands_db is not None:
            orders += [(mesh - 1, db + design.sidebands_db), (mesh + 1, db + design.sidebands_db)]
    orders = [(order, db) for order, db in orders if order * shaft_hz < 0.45 * rate_hz]
    levels = np.array([10 ** ((db + individual.normal(0, 1.5)) / 20) for _, db in orders])
    levels *= math.sqrt(2) / np.linalg.norm(levels)
    phases = individual.uniform(0, 2 * np.pi, len(orders))
    return [(order, float(a), float(p)) for (order, _), a, p in zip(orders, levels, phases, strict=True)]


def _flow_shape(hz: NDArray[np.float64], design: _Design, individual: np.random.Generator) -> NDArray[np.float64]:
    """Return the amplitude spectrum of flow noise: a hump over frequency in octaves, with casing resonances."""
    centre, width = design.flow_hz
    octaves = np.log2(np.maximum(hz, 1.0) / (centre * individual.uniform(0.9, 1.1)))
    shape = np.exp(-0.5 * (octaves / width) ** 2) / np.sqrt(np.maximum(hz, _LOWEST_HZ))
    for _ in range(4):
        resonance = individual.uniform(300, 5000)
        shape *= 1 + individual.uniform(0.3, 1.0) * np.exp(-0.5 * ((hz - resonance) / (0.06 * resonance)) ** 2)
    shape[hz < _LOWEST_HZ] = 0
    return shape


def _pink_shape(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the amplitude spectrum of pink noise above 20 Hz."""
    shape = 1 / np.sqrt(np.maximum(hz, _LOWEST_HZ))
    shape[hz < _LOWEST_HZ] = 0
    return shape


class _Noise:
    """Stationary Gaussian noise of a given spectrum: random spectra, joined by half-overlapping sine windows."""

    def __init__(self, random: np.random.Generator, shape: NDArray[np.float64], level: float) -> None:
        self._random = random
        self._frames = 2 * (len(shape) - 1)
        # Each bin draws a complex normal of power 2; irfft divides by the frames; bins count twice: power 1 after this.
        scale = level * self._frames / (2 * math.sqrt(float(np.sum(shape**2))))
        self._shape = (scale * shape).astype(np.float32)
        self._window = np.sin((np.arange(self._frames) + 0.5) * np.pi / self._frames).astype(np.float32)
        self._tail = self._draw(1.0)[self._frames // 2 :]

    def _draw(self, gain: float) -> Samples:
        parts = self._random.standard_normal(2 * len(self._shape), dtype=np.float32).view(np.complex64)
        noise = np.fft.irfft(parts * (np.float32(gain) * self._shape), self._frames)
        return noise.astype(np.float32, copy=False) * self._window

    def next_chunk(self, gain: float) -> Samples:
        """Return half a spectrum's length of noise, (frames,) float32; a new gain fades in over the chunk."""
        noise = self._draw(gain)
        half = self._frames // 2
        chunk: Samples = noise[:half] + self._tail
        self._tail = noise[half:]
        return chunk


class _Events:
    """The occasional distant event in the hall: a clank, a cart, a door. A hall has its own few, again and again."""

    _PER_CHUNK = CHUNK_S / 40.0  # one in 40 s on average
    _KINDS = 6

    def __init__(
        self, random: np.random.Generator, individual: np.random.Generator, level: float, rate_hz: int
    ) -> None:
        self._random, self._level = random, level
        self._kinds = [_event(individual, rate_hz) for _ in range(self._KINDS)]
        self._rest = np.zeros(0, dtype=np.float32)

    def add_to(self, samples: Samples) -> None:
        """Add what sounds during this chunk, in place."""
        if self._random.random() < self._PER_CHUNK:
            gain = np.float32(self._level * self._random.uniform(0.4, 1.0))
            event = gain * self._kinds[int(self._random.integers(self._KINDS))]
            longer = np.zeros(max(len(event), len(self._rest)), dtype=np.float32)
            longer[: len(self._rest)] += self._rest
            longer[: len(event)] += event
            self._rest = longer
        now = self._rest[: len(samples)]
        samples[: len(now)] += now
        self._rest = self._rest[len(samples) :]


def _event(individual: np.random.Generator, rate_hz: int) -> Samples:
    """Return a hum-like or clank-like burst of 0.3 to 2 s, about as loud as a hall of level 1."""
    seconds = individual.uniform(0.3, 2.0)
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    rise = np.minimum(1, at_s / 0.05) * np.exp(-3 * at_s / seconds)
    sound = np.zeros_like(at_s)
    for _ in range(4):
        sound += np.sin(2 * np.pi * (individual.uniform(150, 1500) * at_s + individual.uniform()))
    return (rise * sound / math.sqrt(2)).astype(np.float32)
