"""Whether a printed level is true: how often a fault alarms at it, 3 dB above it and 3 dB below.

    python -m bench.audibility [--machines 12] [--minutes 10] [--seeds 20] [--dataset DATASET]

Simulated machines are learnt as `enroll --live` does and measured as `enroll` measures them; then each fault is mixed
into a take that was not learnt. With DATASET (DCASE 2020 layout) 60 % of an id's normal clips are learnt and faults
mixed into the others. A row is a fault: at each distance from the printed level the share of seeds in which m of n
windows exceed the threshold, and the share of windows above the low line, of which three hours want 80 %.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.capture.fault_sound import band_power, fault_sound, gain_over
from edge_monitor.capture.simulator import render
from edge_monitor.config.machine import SimulatorSource
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.evaluate.datasets import read_dataset
from edge_monitor.evaluate.learnt import ClipEncoder, sound_windows, spec_of
from edge_monitor.memory.calibration import Calibration, CalibrationSettings, calibrate
from edge_monitor.memory.distance import K
from edge_monitor.memory.leaveout import BLOCK_S, Layout
from edge_monitor.memory.scoring_methods import fit
from edge_monitor.node.audibility import TRIALS, HeldOutScorer, Listener, measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.memory.audibility import Audibility
    from edge_monitor.memory.scoring_methods import Scorer
    from edge_monitor.records import Samples, Vector

WINDOW_S = 10.0
DISTANCES_DB = (-3, 0, 3)
FIRST_TAKE = 1000  # of the faults that are mixed into sound that was not learnt


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A machine as it was enrolled."""

    windows: Sequence[Samples]
    scorer: Scorer  # by all of them
    calibration: Calibration
    audibility: Audibility
    took_s: float  # of one core


class Ear:
    """Learns sound and hears faults in other sound."""

    def __init__(self) -> None:
        self.encoder = Encoder(find_bundle("spectral", None), 1)

    def embed(self, window: Samples) -> Vector:
        """Return the raw vector of (frames,)."""
        vector: Vector = self.encoder.embed(window[None, :])[0]
        return vector

    def learn(self, windows: Sequence[Samples], layout: Layout) -> Learnt:
        """Enrol windows, calibrate, and measure how faint a fault is heard."""
        spec = spec_of(self.encoder)
        vectors = np.stack([self.embed(each) for each in windows])
        calibration = calibrate(vectors, layout, spec, CalibrationSettings(WINDOW_S))
        chosen = np.resize(np.random.default_rng(0).permutation(len(windows)), TRIALS).tolist()
        origin = [(int(layout.recording[each]), int(layout.block[each])) for each in chosen]
        began_s = time.process_time()
        held_out = HeldOutScorer(vectors, layout, spec, origin, k=K, window_s=WINDOW_S)
        listener = Listener(self.embed, held_out.scores, calibration, self.encoder.sample_rate_hz)
        steps = measure([windows[each] for each in chosen], listener)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                took_s = time.process_time() - began_s
                return Learnt(windows, fit(None, vectors, spec, K), calibration, end.value, took_s)

    def alarms(self, learnt: Learnt, healthy: Sequence[Samples], kind: str, level_db: float) -> tuple[float, float]:
        """Return the share of seeds that alarm by m of n, and of windows above the low line; n windows a seed."""
        rate_hz, calibration = self.encoder.sample_rate_hz, learnt.calibration
        band_hz = next(each.band_hz for each in learnt.audibility.faults if each.fault == kind)
        frames, own = len(healthy[0]), learnt.windows
        takes = [fault_sound(kind, FIRST_TAKE + take, frames, rate_hz) for take in range(TRIALS)]
        added, level = (float(np.mean([band_power(each, rate_hz, band_hz) for each in part])) for part in (takes, own))
        gain = np.float32(gain_over(added, level, level_db))
        mixed = (
            np.clip(each + gain * fault_sound(kind, FIRST_TAKE + take, frames, rate_hz), -1.0, 1.0)
            for take, each in enumerate(healthy)
        )
        scores = learnt.scorer.scores(np.stack([self.embed(each) for each in mixed]))
        above = (scores > calibration.threshold).reshape(-1, calibration.raise_n).sum(axis=1)
        line = calibration.low_line
        return float((above >= calibration.raise_m).mean()), 0.0 if line is None else float(
            (scores > line.value).mean()
        )

    def simulated(self, machines: int, minutes: int, windows: int) -> Iterator[tuple[str, Learnt, Sequence[Samples]]]:
        """Yield machines that were enrolled live, in blocks of 30 s and a window of guard after each."""
        for number in range(machines):
            kind, seed = ("pump", "fan", "gearbox")[number % 3], 1 + number // 3
            heard = self._heard(60.0 * minutes, machine=kind, seed=seed)
            part, start_s = np.divmod(np.arange(len(heard)) * WINDOW_S, BLOCK_S + WINDOW_S)
            used = np.flatnonzero(start_s < BLOCK_S)
            layout = Layout(part[used].astype(np.int64), np.zeros(len(used), dtype=np.int64), start_s[used])
            learnt = self.learn([heard[each] for each in used], layout)
            yield f"{kind} {seed}", learnt, self._heard(windows * WINDOW_S, machine=kind, seed=seed, take=9)

    def _heard(self, seconds: float, **fields: object) -> list[Samples]:
        source = SimulatorSource.model_validate({"kind": "simulator", **fields})
        return [each.samples for each in sound_windows(render(source, seconds), self.encoder)]

    def recorded(self, dataset: Path, windows: int) -> Iterator[tuple[str, Learnt, Sequence[Samples]]]:
        """Yield machine ids of which 60 % of the normal clips were learnt."""
        clip_encoder = ClipEncoder(self.encoder)
        for one in read_dataset(dataset).individuals:
            clips = [each for each in (*one.train, *one.test) if not each.anomalous]
            heard = [clip_encoder.window(clip_encoder.encode(each)[0]).samples for each in clips]
            order = np.random.default_rng(0).permutation(len(heard))
            learnt, others = np.split(order, [round(0.6 * len(heard))])
            zero = np.zeros(len(learnt))
            layout = Layout(np.arange(len(learnt)), zero.astype(np.int64), zero)
            again = np.resize(others, windows)
            yield one.label, self.learn([heard[each] for each in learnt], layout), [heard[each] for each in again]


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=12)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=20, help="of each fault at each level")
    parser.add_argument("--dataset", type=Path, default=os.environ.get("EDGE_MONITOR_RECORDINGS"))
    arguments = parser.parse_args()
    ear, windows = Ear(), 5 * arguments.seeds
    print("| machine | took | loss of flow | fault | a minute | seeds at -3 / 0 / +3 dB | three hours | windows at … |")
    print("|---|--:|--:|---|--:|--:|--:|--:|")
    found = ear.simulated(arguments.machines, arguments.minutes, windows)
    for source in (found, *([ear.recorded(arguments.dataset, windows)] if arguments.dataset else [])):
        for name, learnt, healthy in source:
            report(ear, name, learnt, healthy)


def report(ear: Ear, name: str, learnt: Learnt, healthy: Sequence[Samples]) -> None:
    """Print a row for each fault."""
    flow = "heard" if learnt.audibility.no_flow else "not"
    for each in learnt.audibility.faults:
        cells = []
        for rule, level_db in enumerate((each.minute_db, each.three_hours_db)):
            if level_db is None:
                cells += ["not", ""]
                continue
            shares = [ear.alarms(learnt, healthy, each.fault, level_db + more)[rule] for more in DISTANCES_DB]
            cells += [f"{level_db:+d} dB", " / ".join(f"{100 * share:.0f}" for share in shares) + " %"]
        print(f"| {name} | {learnt.took_s:.1f} s | {flow} | {each.fault} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
