"""A fault that grows: when the trend says `rising`, what it forecasts, and when the alarm comes. In simulated sound.

    python -m bench.growth [--machine pump --fault bearing --seed 0]

Ten minutes of the healthy machine are learnt; then it is heard for 12 hours, and for six in which a fault grows from
-20 to +6 dB over the healthy sound in its own band. Takes minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.calibration import RULES, layout_of, wanting
from bench.trend import HOUR, SPAN, STEP_S, Medians
from edge_monitor.alarm.state_machine import AlarmStateMachine, Restored
from edge_monitor.alarm.trend import trend
from edge_monitor.capture.resampling import resample
from edge_monitor.capture.simulator import RATE_HZ, Simulation
from edge_monitor.config.machine import SimulatorSource
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.evaluate.learnt import spec_of
from edge_monitor.memory.calibration import calibrate
from edge_monitor.memory.scoring_methods import fit
from edge_monitor.records import Direction, EventKind, Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_monitor.memory.calibration import Calibration

WINDOW_S, LEARNT, HEALTHY, GROWING = 10.0, 60, 4320, 2160  # the last three in windows
HEARD = 720  # windows of healthy sound that are simulated, and heard again and again


def sound(settings: SimulatorSource) -> Iterator[NDArray[np.float32]]:
    """Yield windows of a simulation, (frames,), for ever."""
    simulation, left = Simulation(settings), np.zeros(0, dtype=np.float32)
    frames = round(WINDOW_S * RATE_HZ)
    while True:
        while len(left) < frames:
            left = np.concatenate([left, simulation.next_chunk()])
        yield left[:frames]
        left = left[frames:]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default="pump")
    parser.add_argument("--fault", default="bearing")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    encoder = Encoder(find_bundle("spectral", Path()))

    def take(number: int, fault: str | None = None) -> Iterator[NDArray[np.float32]]:
        source = {"kind": "simulator", "machine": given.machine, "seed": given.seed, "take": number}
        more = {"fault": fault, "fault_at_s": 0.0, "fault_db": 0.0} if fault else {}
        return sound(SimulatorSource.model_validate(source | more))

    def embedded(window: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(encoder.embed(resample(window, RATE_HZ, encoder.sample_rate_hz)[None])[0])

    healthy = take(1)
    learnt = np.stack([embedded(next(healthy)) for _ in range(LEARNT)])  # (window, dim)
    found = calibrate(learnt, layout_of(LEARNT), spec_of(encoder), wanting(0.1))
    scorer = fit(None, learnt, spec_of(encoder))
    usual = scorer.scores(np.stack([embedded(next(healthy)) for _ in range(HEARD)]))
    grown = []
    for i, (without, with_fault) in enumerate(zip(take(2), take(2, given.fault), strict=False)):
        if i == GROWING:
            break
        gain = np.float32(10 ** ((26 * i / GROWING - 20) / 20))
        grown.append(embedded(without + gain * (with_fault - without)))
    score = np.concatenate([np.tile(usual, HEALTHY // HEARD), scorer.scores(np.stack(grown))])
    report(score, found)


def report(score: NDArray[np.float64], found: Calibration) -> None:
    """Print when what happened, hours after the fault had begun to grow."""
    alarm, medians = AlarmStateMachine("machine", RULES, lambda: "alarm", Restored()), Medians.of(score).ten
    threshold, usual, line_at = found.threshold, found.median_score, found.low_line
    for i, value in enumerate(score.tolist()):
        low_line = None if line_at is None else line_at.value
        heard = Score("machine", value, threshold, 1, (), WINDOW_S * i, WINDOW_S * (i + 1), -20.0, low_line)
        event = alarm.on_score(heard, 0)
        if event is not None and event.kind in {EventKind.CHANGED, EventKind.START}:
            print(f"{event.kind.value} after {(i - HEALTHY) / 360:.1f} h")
        if event is not None and event.kind is EventKind.START:
            break
    rising = False
    for end in range(SPAN, len(medians) + 1):
        at_s = STEP_S * np.arange(end - SPAN + 1, end + 1, dtype=np.float64)
        line = trend(at_s, medians[end - SPAN : end] / threshold, step_s=STEP_S, usual=usual / threshold)
        now = line is not None and line.direction is Direction.RISING
        if line is not None and now and not rising:
            since_h, now_h = (each / 3600 - HEALTHY / 360 for each in (line.since_s, at_s[-1]))
            print(f"rising after {now_h:.1f} h, since {since_h:.1f} h, {line.ratio:.2f} of the threshold", end="")
            print(f", forecast {line.forecast.at_s / 3600 - HEALTHY / 360:.1f} h" if line.forecast else "")
        rising = now
    over = np.flatnonzero(medians > threshold)
    print(f"median over the threshold after {over[0] / HOUR - HEALTHY / 360:.1f} h" if len(over) else "never over it")


if __name__ == "__main__":
    main()
