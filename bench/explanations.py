"""Measured explanations against the truth: the simulator's faults, and sentences for a data set's anomalies to read.

    python bench/explanations.py [--seeds 8]
    python bench/explanations.py --recordings DATASET    # docs/examples/mimii.md without its verdicts

The first form takes machines at 0.6, 1 and 1.3 times their speed and prints, by fault and machine, how often a fault's
physical signature is the first or second finding, how often nothing stands out of a healthy sound, and what measuring
and comparing cost; the exit code is 1 below 90 and 95 %. What a fault sounds like is taken from the simulator's own
parts, never from the explainer. The second form takes a data set as `edge-monitor evaluate` does, remembers all normal
clips of each id and writes the sentences for the three anomalies with the highest scores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from edge_monitor.capture import simulator_machine
from edge_monitor.capture.fault_sound import band_power
from edge_monitor.capture.recording import read_clip
from edge_monitor.capture.simulator import RATE_HZ, render
from edge_monitor.capture.simulator_faults import make_fault
from edge_monitor.capture.simulator_machine import HealthyMachine
from edge_monitor.config.machine import SimulatorSource
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.evaluate.datasets import read_dataset
from edge_monitor.evaluate.learnt import spec_of
from edge_monitor.explain.acoustics import measure
from edge_monitor.explain.difference import compare, spread_of
from edge_monitor.memory.distance import K
from edge_monitor.memory.index import ExactIndex
from edge_monitor.memory.scoring_methods import fit
from edge_monitor.pipeline.repetition import repetition_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from edge_monitor.explain.acoustics import Acoustics
    from edge_monitor.explain.difference import Difference
    from edge_monitor.records import Finding, Repetition, Samples

    Array = NDArray[np.float64]

SECONDS = 10.0
NORMALS = 30
HEALTHY = 6  # unseen healthy takes of each individual
MACHINES = ("pump", "fan", "gearbox")
FAULTS = ("bearing", "cavitation", "belt", "rattle", "imbalance", "no-flow")
SPEEDS = (0.6, 1.0, 1.3)  # of the machines, over that of the simulator's designs, which the explainer was tried on
FRESH = 6000  # first seed; the explainer was tried on seeds 0 to 9
LOSS_DB = 6.0  # no-flow takes away: 0 dB would change nothing, so the flow loses half its amplitude
WIDEST = 2.0  # a finding's band over the fault's, in octaves: one that is everywhere names no band


@dataclass(frozen=True, slots=True)
class Truth:
    """What is physically different in a faulty sound."""

    fault: str
    rates: tuple[float, ...] = ()  # of impulses, 1/s
    tones: tuple[tuple[float, int], ...] = ()  # Hz, and whether the tone is stronger (1) or weaker (-1)
    band_hz: tuple[float, float] = (0.0, 0.0)
    sign: int = 0  # of the level's change in that band; 0: the level is no signature

    def shows_in(self, finding: Finding) -> bool:
        """Return whether a finding names this signature."""
        value, normal = finding.value, finding.normal
        if finding.name == "rhythmic-impulses" and value is not None:
            return any(abs(value / rate - 1) <= 0.05 for rate in self.rates)
        if finding.name == "tone":
            hz = value if value is not None else normal
            sign = -1 if value is None or "weaker" in finding.text else 1
            return any(hz is not None and abs(hz / tone - 1) <= 0.02 and sign == way for tone, way in self.tones)
        if finding.band_hz is None or value is None or normal is None or self.sign == 0:
            return False
        (low, high), (first, last) = finding.band_hz, self.band_hz
        shared = min(high, last) - max(low, first)
        inside = shared >= 0.5 * min(high - low, last - first)
        narrow = high / low <= (last / first) ** WIDEST
        return inside and narrow and (value > normal) == (self.sign > 0)


def at_speed(factor: float) -> AbstractContextManager[object]:
    """Let simulated machines run faster or slower meanwhile: all that follows the shaft is at other frequencies."""
    designs = vars(simulator_machine)["_DESIGNS"]
    changed = {name: replace(each, shaft_hz=factor * each.shaft_hz) for name, each in designs.items()}
    return patch.dict(designs, changed)


def source(machine: str, seed: int, take: int, fault: str | None = None) -> SimulatorSource:
    """Return a simulated machine whose fault is there from the start, 0 dB over the sound in its own band."""
    return SimulatorSource.model_validate(
        {"kind": "simulator", "machine": machine, "seed": seed, "take": take, "fault": fault, "fault_at_s": 0.0}
        | {"fault_db": LOSS_DB if fault == "no-flow" else 0.0}
    )


def truth_of(settings: SimulatorSource, faulty: Samples) -> Truth:
    """Return a fault's signature from the simulator's own parts and, for an imbalance, from the two sounds."""
    fault = str(settings.fault)
    if fault == "no-flow":
        return Truth(fault, band_hz=(100.0, 7000.0), sign=-1)
    shaft_hz = HealthyMachine(settings, RATE_HZ, 8192).shaft_hz
    made = make_fault(fault, settings.seed, settings.take, RATE_HZ)
    match fault:
        case "bearing":
            return Truth(fault, rates=(shaft_hz * vars(made)["impacts_per_turn"],))
        case "belt":
            return Truth(fault, tones=((sum(made.band_hz) / 2, 1),))
        case "imbalance":
            # Its tones meet the machine's own: in step they add, in counter-step they cancel.
            healthy = render(source(settings.machine, settings.seed, settings.take), SECONDS)
            tones = []
            for order in (1, 2, 3):
                band = (0.97 * order * shaft_hz, 1.03 * order * shaft_hz)
                change_db = 10 * np.log10(band_power(faulty, RATE_HZ, band) / band_power(healthy, RATE_HZ, band))
                tones.append((order * shaft_hz, 1 if change_db > 0 else -1))
            change = band_power(faulty, RATE_HZ, made.band_hz) - band_power(healthy, RATE_HZ, made.band_hz)
            return Truth(fault, tones=tuple(tones), band_hz=made.band_hz, sign=1 if change > 0 else -1)
        case _:
            return Truth(fault, band_hz=made.band_hz, sign=1)


class Individual:
    """One machine's normal sounds, remembered as the product does: embeddings to find neighbours, acoustics of each."""

    def __init__(self, acoustics: Sequence[Acoustics], vectors: Array, encoder: Encoder) -> None:
        """Remember what was measured of normals, and their embeddings (normals, dim)."""
        self._encoder, self._vectors = encoder, vectors
        self.acoustics = list(acoustics)
        self.spread = spread_of(self.acoustics)
        self._fitted = fit(None, vectors, spec_of(encoder))
        self._index = ExactIndex(self._fitted.scaler.apply(vectors))

    @classmethod
    def heard(cls, sounds: Sequence[Samples], encoder: Encoder) -> Individual:
        """Return the individual that made these sounds, (frames,) each."""
        return cls([measure(sound, RATE_HZ) for sound in sounds], _embed(sounds, encoder), encoder)

    def without(self, position: int) -> Individual:
        """Return the same, with one of its normals forgotten."""
        acoustics = self.acoustics[:position] + self.acoustics[position + 1 :]
        return Individual(acoustics, np.delete(self._vectors, position, axis=0), self._encoder)

    def nearest(self, sound: Samples) -> tuple[float, list[Acoustics], Repetition | None]:
        """Return a sound's score by the bundle's own scorer, its nearest normals' acoustics, and what repeats in it."""
        vector = _embed([sound], self._encoder)
        scaled = self._fitted.scaler.apply(vector[0])
        found = self._index.query(scaled, K)
        own, repetition = self._encoder.bundle.manifest.scorer, None
        if own.envelope is not None and own.bands is not None:
            normals = self._fitted.scaler.apply(self._vectors[found.position])
            repetition = repetition_of(scaled - normals.mean(axis=0), own.bands, own.envelope)
        near = [self.acoustics[position] for position in found.position]
        return float(self._fitted.scores(vector)[0]), near, repetition

    def explain(self, sound: Samples) -> Difference:
        """Return the measured explanation of a sound."""
        _, near, repetition = self.nearest(sound)
        return compare(measure(sound, RATE_HZ), near, self.spread, repetition)


def _embed(sounds: Sequence[Samples], encoder: Encoder) -> Array:
    return np.concatenate([encoder.embed(sound[None, :]) for sound in sounds]).astype(np.float64)


def simulated(machine: str, seed: int, encoder: Encoder) -> Individual:
    """Return an individual that has been heard in thirty takes."""
    takes = [render(source(machine, seed, take), SECONDS) for take in range(100, 100 + NORMALS)]
    return Individual.heard(takes, encoder)


def named(individual: Individual, settings: SimulatorSource) -> tuple[bool, Difference]:
    """Return whether the fault's signature is the first or second finding, and the explanation."""
    sound = render(settings, SECONDS)
    difference = individual.explain(sound)
    truth = truth_of(settings, sound)
    return any(truth.shows_in(finding) for finding in difference.findings[:2]), difference


def judged(machine: str, seed: int, speed: float, encoder: Encoder) -> Iterator[tuple[str, bool, str]]:
    """Yield of an individual's faults and healthy takes: which, whether what was told is right, and what was told."""
    with at_speed(speed):
        individual = simulated(machine, seed, encoder)
        for take in range(HEALTHY):
            told = individual.explain(render(source(machine, seed, take), SECONDS))
            yield "healthy", not told.findings, f"healthy {machine} {seed} at {speed}: {told.sentence}"
        for fault in FAULTS:
            right, told = named(individual, source(machine, seed, 1, fault))
            yield fault, right, f"{fault} {machine} {seed} at {speed}: {told.sentence}"


def simulate(seeds: int, encoder: Encoder) -> int:
    """Print the table; return the exit code."""
    hits: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for machine in MACHINES:
        for seed in range(FRESH, FRESH + seeds):
            for row, right, told in judged(machine, seed, SPEEDS[seed % len(SPEEDS)], encoder):
                hits[row, machine].append(right)
                if not right:
                    print(told, file=sys.stderr)
    print("| | " + " | ".join(MACHINES) + " | all |\n|---|--:|--:|--:|--:|")
    for row in (*FAULTS, "healthy"):
        every = [hit for machine in MACHINES for hit in hits[row, machine]]
        cells = [f"{sum(hits[row, machine])} of {len(hits[row, machine])}" for machine in MACHINES]
        print(f"| {row} | " + " | ".join(cells) + f" | {100 * np.mean(every):.0f} % |")
    found = float(np.mean([hit for (row, _), values in hits.items() if row != "healthy" for hit in values]))
    quiet = float(np.mean([hit for (row, _), values in hits.items() if row == "healthy" for hit in values]))
    print(f"\nsignature first or second: {100 * found:.1f} % (90 are asked)")
    print(f"nothing stands out of a healthy sound: {100 * quiet:.1f} % (95 are asked)\n")
    _print_cost(encoder)
    return 0 if found >= 0.9 and quiet >= 0.95 else 1


def _print_cost(encoder: Encoder) -> None:
    individual = simulated("pump", FRESH, encoder)
    sound = render(source("pump", FRESH, 1, "bearing"), SECONDS)
    many = [individual.acoustics[i % NORMALS] for i in range(300)]
    spread = spread_of(many)
    costs: dict[str, list[float]] = {"measure 10 s": [], "compare, spread ready": [], "spread of 300": []}
    for _ in range(40):
        began = time.perf_counter()
        acoustics = measure(sound, RATE_HZ)
        measured = time.perf_counter()
        compare(acoustics, many[:K], spread)
        compared = time.perf_counter()
        spread_of(many)
        steps = (measured - began, compared - measured, time.perf_counter() - compared)
        for name, cost_s in zip(costs, steps, strict=True):
            costs[name].append(1000 * cost_s)
    for name, values in costs.items():
        print(f"{name}: p50 {np.percentile(values, 50):.1f} ms, p95 {np.percentile(values, 95):.1f} ms")


def read_aloud(dataset: Path, encoder: Encoder) -> int:
    """Print the sentences of a data set as Markdown; return the exit code."""
    print(_HEAD)
    false, tried = 0, 0
    for one in read_dataset(dataset).individuals:
        clips = sorted((*one.train, *one.test), key=lambda clip: clip.path)
        sounds = [_read(clip.path) for clip in clips if not clip.anomalous]
        individual = Individual.heard(sounds, encoder)
        for i, sound in enumerate(sounds):
            false += bool(individual.without(i).explain(sound).findings)
            tried += 1
        scored = [(individual.nearest(_read(clip.path))[0], clip.path) for clip in clips if clip.anomalous]
        print(one.label, file=sys.stderr)
        print(f"\n## {one.machine.capitalize()} {one.machine_id} ({len(sounds)} normal clips)\n")
        for score, path in sorted(scored, reverse=True)[:3]:
            print(f"- `{path.name}`, score {score:.2f}: {individual.explain(_read(path)).sentence}")
    print(f"\nEach normal clip against the others: something stands out of {false} of {tried}.")
    return 0


def _read(path: Path) -> Samples:
    samples, rate_hz = read_clip(path)
    assert rate_hz == RATE_HZ
    return samples


_HEAD = """\
# What is said of real anomalies

Measured explanations of the three anomalous clips with the highest scores of each machine id, by the embedded bundle.
All normal clips of the id are remembered; there are few of them, so that only large differences can stand out.

The sentences were made from MIMII recordings (Purohit, Tanabe, Ichige, Endo, Nikaido, Suefusa, Kawaguchi: "MIMII
Dataset: Sound Dataset for Malfunctioning Industrial Machine Investigation and Inspection", DCASE Workshop 2019,
[doi 10.5281/zenodo.3384388](https://doi.org/10.5281/zenodo.3384388)), licensed CC BY-SA 4.0: 10 s, 16 kHz, one channel,
0 and -6 dB signal-to-noise ratio. No sound is included here. Made by `bench/explanations.py --recordings DATASET`."""


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="individuals of each machine")
    parser.add_argument("--recordings", type=Path, metavar="DATASET")
    options = parser.parse_args()
    encoder = Encoder(find_bundle("spectral", base=Path.cwd()))
    return read_aloud(options.recordings, encoder) if options.recordings else simulate(options.seeds, encoder)


if __name__ == "__main__":
    sys.exit(main())
