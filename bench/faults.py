"""Faint faults of simulated machines: how well a bundle ranks them, and how many windows exceed the threshold.

    python -m bench.faults [--bundle spectral ...]

Twelve machines as in `bench.converters`, each learnt from five minutes; 20 healthy windows and 10 of each fault and
level. Levels are over the healthy sound in the fault's own band, dB; of no-flow, how much of the flow is lost. They
are set to where maximum and deviation alone, the bundle before it heard what repeats, had an AUC of 60 to 98.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from bench.converters import LEARNT_S, MACHINES, learn, sound, windows
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.evaluate.roc import auc

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS_DB = {
    "bearing": (-12, -9, -6),
    "belt": (-12, -8, -4),
    "cavitation": (-18, -15),
    "rattle": (-24, -20),
    "imbalance": (-6, -3, 0, 3),
    "no-flow": (1, 2, 3),
}
HEALTHY_S, FAULTY_S = 200, 100


def rows(encoder: Encoder) -> Iterator[str]:
    """Yield a row for each fault and level: mean AUC over the machines, and windows over the threshold, per cent."""
    machines = [(kind, seed, learn(encoder, sound(kind, seed, 0, LEARNT_S))) for kind, seed in MACHINES]
    healthy = [machine.ratios(windows(sound(kind, seed, 1, HEALTHY_S))) for kind, seed, machine in machines]
    yield f"healthy: {100 * np.mean(np.concatenate(healthy) > 1):.1f} % over the threshold"
    for fault, levels in LEVELS_DB.items():
        for level_db in levels:
            faulty = [
                machine.ratios(windows(sound(kind, seed, 2, FAULTY_S, fault=fault, fault_db=level_db)))
                for kind, seed, machine in machines
            ]
            ranked = np.mean([auc(one, other) for one, other in zip(healthy, faulty, strict=True)])
            over = np.mean(np.concatenate(faulty) > 1)
            yield f"{fault} {level_db:+d} dB: AUC {100 * ranked:.1f}, {100 * over:.1f} % over the threshold"


def main() -> None:
    """Print the rows for each bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", nargs="+", default=["spectral"])
    for name in parser.parse_args().bundle:
        print(f"== {name}", flush=True)
        for line in rows(Encoder(find_bundle(name))):
            print(line, flush=True)


if __name__ == "__main__":
    main()
