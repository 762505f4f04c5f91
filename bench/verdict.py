"""What the verdict's levels are worth: thresholds and the faults that exceed them, by how much was learnt.

    python -m bench.verdict [--dataset DATASET] [--draws 20]

Nine simulated machines are learnt as `enroll --live` does; other takes of them are scored, healthy and with three
faults at 6 and at 0 dB. With DATASET (DCASE 2020 layout) some normal clips of each machine id are drawn and learnt, the
other normal ones and the anomalous ones scored.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.simulator import render
from edge_monitor.config.machine import SimulatorSource
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.evaluate.datasets import read_dataset
from edge_monitor.evaluate.learnt import ClipEncoder, sound_windows, spec_of
from edge_monitor.memory.calibration import CalibrationSettings, calibrate
from edge_monitor.memory.distance import K
from edge_monitor.memory.leaveout import BLOCK_S, Layout
from edge_monitor.memory.scoring_methods import fit
from edge_monitor.node.verdict import Facts, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]  # (windows, dim)

MINUTES = (1, 2, 3, 5, 10, 20, 30)
CLIPS = (5, 6, 8)  # that each of the 8 MIMII ids has, with normal ones left to be scored
LEVELS_DB = (6.0, 0.0)
FAULTS = ("bearing", "cavitation", "belt")
WINDOW_S = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one machine's learning."""

    ratio: float  # threshold / the highest healthy score it was calibrated on
    held_out: float  # threshold / the 99 % quantile of healthy sound that was not learnt
    hits: tuple[float, ...]  # share of faulty windows above the threshold, at each fault level
    level: str


def learn(encoder: Encoder, learnt: Vectors, layout: Layout, healthy: Vectors, faulty: Sequence[Vectors]) -> Found:
    """Calibrate on what was learnt, and score the rest."""
    spec = spec_of(encoder)
    calibration = calibrate(learnt, layout, spec, CalibrationSettings(WINDOW_S))
    fitted, threshold = fit(None, learnt, spec, K), calibration.threshold
    return Found(
        threshold / calibration.highest_usual,
        threshold / float(np.quantile(fitted.scores(healthy), 0.99)),
        tuple(float((fitted.scores(each) > threshold).mean()) for each in faulty),
        judge(Facts(calibration)).level,
    )


def simulated(encoder: Encoder) -> Iterator[tuple[str, Found]]:
    """Yield what came of so many minutes, in blocks of 30 s and a window of guard after each."""
    for machine in ("pump", "fan", "gearbox"):
        for seed in (1, 2, 3):
            long = _heard(encoder, 60.0 * MINUTES[-1], machine=machine, seed=seed)
            healthy = _heard(encoder, 300.0, machine=machine, seed=seed, take=7)
            faulty = [
                np.concatenate(
                    [
                        _heard(encoder, 60.0, machine=machine, seed=seed, take=9, fault=fault, fault_db=level_db)
                        for fault in FAULTS
                    ]
                )
                for level_db in LEVELS_DB
            ]
            part, start_s = np.divmod(np.arange(len(long)) * WINDOW_S, BLOCK_S + WINDOW_S)
            for minutes in MINUTES:
                used = (np.arange(len(long)) * WINDOW_S < 60 * minutes) & (start_s < BLOCK_S)
                block = np.zeros(int(used.sum()), dtype=np.int64)
                layout = Layout(part[used].astype(np.int64), block, start_s[used])
                yield f"{minutes} min", learn(encoder, long[used], layout, healthy, faulty)


def _heard(encoder: Encoder, seconds: float, **fields: object) -> Vectors:
    source = SimulatorSource.model_validate({"kind": "simulator", "fault_at_s": 0.0, **fields})
    return np.stack([encoder.embed_window(each).vector for each in sound_windows(render(source, seconds), encoder)])


def recorded(encoder: Encoder, dataset: Path, draws: int) -> Iterator[tuple[str, Found]]:
    """Yield what came of so many clips of 10 s, one window each."""
    clip_encoder = ClipEncoder(encoder)
    for one in read_dataset(dataset).individuals:
        clips = sorted((*one.train, *one.test), key=lambda clip: clip.anomalous)
        heard = np.stack([clip_encoder.encode(clip)[0].embedding.vector for clip in clips])
        normal, anomalous = np.split(heard, [sum(not clip.anomalous for clip in clips)])
        for count in CLIPS:
            layout = Layout(np.arange(count), np.zeros(count, dtype=np.int64), np.zeros(count))
            for draw in range(draws):
                learnt, healthy = np.split(np.random.default_rng((3, draw)).permutation(normal), [count])
                yield f"{count} clips", learn(encoder, learnt, layout, healthy, [anomalous])


def report(found: Iterator[tuple[str, Found]]) -> None:
    """Print a row for each amount that was learnt."""
    by_amount: dict[str, list[Found]] = {}
    for amount, each in found:
        by_amount.setdefault(amount, []).append(each)
    for amount, alike in by_amount.items():
        hits = " / ".join(f"{100 * share:.0f} %" for share in np.mean([each.hits for each in alike], axis=0))
        levels = [each.level for each in alike]
        shares = " / ".join(f"{100 * levels.count(level) / len(levels):.0f}" for level in ("deaf", "thin", "good"))
        medians = np.median([(each.ratio, each.held_out) for each in alike], axis=0)
        print(f"| {amount} | {medians[0]:.2f} | {medians[1]:.2f} | {hits} | {shares} % |", flush=True)


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=os.environ.get("EDGE_MONITOR_RECORDINGS"))
    parser.add_argument("--draws", type=int, default=20, help="of the clips to learn, for each machine id")
    arguments = parser.parse_args()
    encoder = Encoder(find_bundle("spectral", None), 1)
    print("| learnt | threshold / highest | / held out | faults above | deaf / thin / good |\n|---|--:|--:|--:|--:|")
    report(simulated(encoder))
    if arguments.dataset is not None:
        report(recorded(encoder, arguments.dataset, arguments.draws))


if __name__ == "__main__":
    main()
