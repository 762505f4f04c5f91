"""A simulated rotating machine as a source of sound: seeded, and the same however it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.fault_sound import band_power, gain_over
from edge_monitor.capture.pacing import PlayedSource
from edge_monitor.capture.simulator_faults import make_fault
from edge_monitor.capture.simulator_machine import CHUNK_S, HealthyMachine
from edge_monitor.records import AudioBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.machine import SimulatorSource
    from edge_monitor.records import Samples

RATE_HZ = 16_000
_BLOCKS_PER_CHUNK = 4  # blocks of 0.128 s
_REFERENCE_CHUNKS = 48  # 25 s of healthy sound to set the fault's level against; bouts of squeal last seconds


class Simulation:
    """The sound itself, chunk by chunk of about half a second.

    The individual (speeds, resonances, levels) follows from `settings.seed`; what happens to it (noise, load, events)
    from the seed and `settings.take`: two takes are two recordings of the same machine.
    """

    def __init__(self, settings: SimulatorSource, rate_hz: int = RATE_HZ) -> None:
        self.rate_hz = rate_hz
        self.chunk = round(CHUNK_S * rate_hz) // _BLOCKS_PER_CHUNK * _BLOCKS_PER_CHUNK  # frames
        self._settings = settings
        self._frames = 0
        self._machine = HealthyMachine(settings, rate_hz, self.chunk)
        self._fault = None
        self._fault_gain = 0.0
        self._flow_gain = 1.0
        if settings.fault == "no-flow":
            self._flow_gain = 10 ** (-settings.fault_db / 20)
        elif settings.fault is not None:
            self._fault = make_fault(settings.fault, settings.seed, settings.take, rate_hz)
            self._fault_gain = self._set_level()

    def _set_level(self) -> float:
        """Return the gain that puts the fault `fault_db` over the healthy sound in the fault's own band."""
        settings = self._settings
        healthy = HealthyMachine(settings.model_copy(update={"stops": ()}), self.rate_hz, self.chunk)
        fault = make_fault(str(settings.fault), settings.seed, settings.take, self.rate_hz)
        sound, trouble = [], []
        for _ in range(_REFERENCE_CHUNKS):
            part = healthy.next_chunk(1.0)
            sound.append(part.samples)
            trouble.append(fault.next_chunk(part))
        added, own = (band_power(np.concatenate(each), self.rate_hz, fault.band_hz) for each in (trouble, sound))
        return gain_over(added, own, settings.fault_db)

    def next_chunk(self) -> Samples:
        """Return the next `chunk` frames, float32 mono."""
        start_s = self._frames / self.rate_hz
        self._frames += self.chunk
        settings = self._settings
        onset = settings.fault is not None and start_s + self.chunk / self.rate_hz > settings.fault_at_s
        part = self._machine.next_chunk(self._flow_gain if onset else 1.0)
        if self._fault is None:
            return part.samples
        trouble = self._fault.next_chunk(part)  # always drawn, so that the onset does not change what follows
        if not onset:
            return part.samples
        first = max(0, round((settings.fault_at_s - start_s) * self.rate_hz))
        trouble[:first] = 0
        out: Samples = part.samples + np.float32(self._fault_gain) * trouble
        return np.clip(out, -1.0, 1.0)


def render(settings: SimulatorSource, seconds: float, rate_hz: int = RATE_HZ) -> Samples:
    """Return the first `seconds` of a simulation as (frames,) float32; `pace` and `settings.seconds` are ignored."""
    simulation = Simulation(settings, rate_hz)
    frames = round(seconds * rate_hz)
    chunks = [simulation.next_chunk() for _ in range(-(-frames // simulation.chunk))]
    return np.concatenate(chunks)[:frames] if chunks else np.zeros(0, dtype=np.float32)


class SimulatedMachine(PlayedSource):
    """A simulation as a source; it ends after `settings.seconds`, or never."""

    def __init__(self, machine: str, settings: SimulatorSource) -> None:
        super().__init__(machine, settings.pace)
        self._simulation = Simulation(settings)
        self._frames = None if settings.seconds is None else max(1, round(settings.seconds * RATE_HZ))

    def _sound(self) -> Iterator[AudioBlock]:
        done = 0
        while done != self._frames:
            for part in np.split(self._simulation.next_chunk(), _BLOCKS_PER_CHUNK):
                samples = part if self._frames is None else part[: self._frames - done]
                if not len(samples):
                    return
                yield AudioBlock(
                    machine=self._machine,
                    samples=samples,
                    rate_hz=RATE_HZ,
                    start_s=done / RATE_HZ,
                    recording_start_s=done / RATE_HZ,
                    gap=done == 0,
                    last=done + len(samples) == self._frames,
                )
                done += len(samples)
