"""The measured explanation against what the simulator has put into the sound, on individuals it was not tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.explanations import FAULTS, named, simulated, source
from edge_monitor.capture.simulator import render
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(("machine", "seed"), [("pump", 7001), ("fan", 7002), ("gearbox", 7003)])
def test_the_faults_signature_is_the_first_or_second_finding(machine: str, seed: int) -> None:
    """Of six faults at 0 dB at least five are named by rate, frequency or band; of six healthy takes five say nothing.

    `bench/explanations.py` does the same on eight individuals of each machine and asks for 90 and 95 %.
    """
    assert FAULTS == ("bearing", "cavitation", "belt", "rattle", "imbalance", "no-flow")
    encoder = Encoder(find_bundle("spectral", base=REPOSITORY))
    individual = simulated(machine, seed, encoder)
    missed = {}
    for fault in FAULTS:
        found, difference = named(individual, source(machine, seed, 1, fault))
        if not found:
            missed[fault] = difference.sentence
    assert len(missed) <= 1, missed
    said = [individual.explain(render(source(machine, seed, take), 10.0)) for take in range(6)]
    assert sum(bool(difference.findings) for difference in said) <= 1, [difference.sentence for difference in said]
