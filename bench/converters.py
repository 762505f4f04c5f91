"""What a converter does to the score: resamplers, a constant offset and gains, on twelve simulated machines.

    python -m bench.converters [--bundle spectral ...]

Each machine is learnt from five minutes at 0.1 false alarms per day. Resamplers: healthy sound at 44.1, 48 and 96 kHz
made 16 kHz by soxr, sox, ffmpeg and SciPy, each learnt and the others heard: the largest difference of a window's
score from the one with the resampler that was learnt, in per cent of the threshold. `sox` and `ffmpeg` are the
programs; what is not installed is left out and said. Gains: with each fault at 6 dB and without one, what a minute at
that gain comes to: alarm (3 of 5 disjoint windows), sensor-changed, or neither.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soxr
from scipy.signal import resample_poly

from edge_monitor.capture.sensor import SensorProfile, learn_sensor
from edge_monitor.capture.simulator import Simulation
from edge_monitor.config.machine import SimulatorSource
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.explain.acoustics import steady_noise_db
from edge_monitor.memory.calibration import CalibrationSettings, calibrate
from edge_monitor.memory.leaveout import Layout
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scoring_methods import Scorer, fit
from edge_monitor.pipeline.sensor_check import sensor_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from edge_monitor.records import Samples

MACHINES = tuple((kind, seed) for kind in ("pump", "fan", "gearbox") for seed in (1, 2, 3, 4))
FAULTS = ("bearing", "cavitation", "belt", "rattle", "imbalance", "no-flow")
GAINS_DB = (-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6)
OFFSETS = (-0.2, -0.05, -0.01, 0.01, 0.05, 0.2)
RATES_HZ = (44_100, 48_000, 96_000)
RATE_HZ = 16_000
LEARNT_S, HEARD_S, WINDOW_S = 300, 60, 10
RAISE_M, RAISE_N = 3, 5


def sound(
    kind: str,
    seed: int,
    take: int,
    seconds: int,
    *,
    rate_hz: int = RATE_HZ,
    fault: str | None = None,
    fault_db: float = 6.0,
) -> Samples:
    """Return a simulated machine's sound, (frames,)."""
    source = {"kind": "simulator", "machine": kind, "seed": seed, "take": take}
    source |= {"fault": fault, "fault_db": fault_db, "fault_at_s": 0.0}
    simulation = Simulation(SimulatorSource.model_validate(source), rate_hz)
    frames = seconds * rate_hz
    chunks = [simulation.next_chunk() for _ in range(-(-frames // simulation.chunk))]
    out: Samples = np.concatenate(chunks)[:frames]
    return out


def windows(samples: Samples) -> NDArray[np.float32]:
    """Return disjoint windows, (n, frames)."""
    frames = WINDOW_S * RATE_HZ
    return samples[: len(samples) // frames * frames].reshape(-1, frames)


# --- resamplers -------------------------------------------------------------------------------------------------------


def _piped(command: list[str], samples: Samples) -> Samples:
    done = subprocess.run(command, input=samples.astype("<f4").tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, "<f4").astype(np.float32)


def by_soxr(samples: Samples, rate_hz: int) -> Samples:
    """Return it at 16 kHz, as the product does."""
    out: Samples = soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ")
    return out


def by_sox(samples: Samples, rate_hz: int) -> Samples:
    """Return it at 16 kHz, by sox's `rate`."""
    raw = ["-t", "raw", "-e", "float", "-b", "32", "-c", "1"]
    return _piped(["sox", *raw, "-r", str(rate_hz), "-", *raw, "-r", str(RATE_HZ), "-"], samples)


def by_ffmpeg(samples: Samples, rate_hz: int) -> Samples:
    """Return it at 16 kHz, by ffmpeg's default resampler."""
    raw = ["-f", "f32le", "-ac", "1"]
    return _piped(
        ["ffmpeg", "-v", "error", *raw, "-ar", str(rate_hz), "-i", "-", *raw, "-ar", str(RATE_HZ), "-"], samples
    )


def by_scipy(samples: Samples, rate_hz: int) -> Samples:
    """Return it at 16 kHz, by SciPy's polyphase filter."""
    common = np.gcd(RATE_HZ, rate_hz)
    return np.asarray(resample_poly(samples, RATE_HZ // common, rate_hz // common), dtype=np.float32)


RESAMPLERS: dict[str, Callable[[Samples, int], Samples]] = {
    "soxr": by_soxr,
    "SciPy": by_scipy,
    **{program: by for program, by in (("sox", by_sox), ("ffmpeg", by_ffmpeg)) if shutil.which(program)},
}


# --- what is learnt and what is heard ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learnt:
    """One machine, as a bundle knows it."""

    encoder: Encoder
    scorer: Scorer
    threshold: float
    sensor: SensorProfile | None

    def ratios(self, heard: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores of windows (n, frames) over the threshold, (n,)."""
        return np.asarray(self.scorer.scores(embedded(self.encoder, heard)) / self.threshold)

    def verdict(self, heard: NDArray[np.float32]) -> str:
        """Return what a minute of disjoint windows comes to."""
        changed = False
        exceeds = []
        for window, ratio in zip(heard, self.ratios(heard), strict=True):
            if self.sensor is not None:
                changed = (
                    sensor_change(self.sensor, window, RATE_HZ, level(window), changed=changed).changed is not None
                )
            exceeds.append(ratio > 1 and not changed)
        if max(sum(exceeds[i : i + RAISE_N]) for i in range(len(exceeds))) >= RAISE_M:
            return "alarm"
        return "sensor-changed" if changed else "neither"


def level(window: Samples) -> float:
    """Return a window's RMS level without its mean, dBFS."""
    return float(10 * np.log10(np.var(window, dtype=np.float64) + 1e-12))


def embedded(encoder: Encoder, heard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the embeddings of windows, (n, dim)."""
    return np.concatenate([encoder.embed(window[None]) for window in heard])


def learn(encoder: Encoder, samples: Samples) -> Learnt:
    """Learn one machine from its healthy sound."""
    heard = windows(samples)
    vectors = embedded(encoder, heard)
    manifest = encoder.bundle.manifest
    scoring, own = manifest.scoring, manifest.scorer
    spec = MetricSpec(scoring.metric, scoring.normalize, scoring.floor_of_each, own.bands, own.name)
    at = np.arange(len(heard))
    layout = Layout(np.zeros(len(heard), dtype=np.int64), at // 3, (WINDOW_S * at).astype(np.float64))  # blocks of 30 s
    threshold = calibrate(vectors, layout, spec, CalibrationSettings(window_s=WINDOW_S)).threshold
    sensor = learn_sensor([(level(window), *steady_noise_db(window, RATE_HZ)) for window in heard])
    return Learnt(encoder, fit(None, vectors, spec), threshold, sensor)


# --- the tables -------------------------------------------------------------------------------------------------------


def resamplers(encoder: Encoder) -> Iterator[str]:
    """Yield a row for each rate and each resampler that was learnt."""
    for rate_hz in RATES_HZ:
        apart = {name: dict.fromkeys(RESAMPLERS, 0.0) for name in RESAMPLERS}
        worst = 0.0
        for kind, seed in MACHINES:
            first, later = (sound(kind, seed, take, s, rate_hz=rate_hz) for take, s in ((0, LEARNT_S), (1, HEARD_S)))
            made = {
                name: (
                    windows(by(first, rate_hz)[: LEARNT_S * RATE_HZ]),
                    windows(by(later, rate_hz)[: HEARD_S * RATE_HZ]),
                )
                for name, by in RESAMPLERS.items()
            }
            for name, (taught, _) in made.items():
                machine = learn(encoder, taught.reshape(-1))
                own = machine.ratios(made[name][1])
                for other, (_, heard) in made.items():
                    ratios = machine.ratios(heard)
                    worst = max(worst, float(ratios.max()))
                    apart[name][other] = max(apart[name][other], float(np.abs(ratios - own).max()))
        for name, row in apart.items():
            cells = ", ".join(f"{other} {100 * value:.2f} %" for other, value in row.items() if other != name)
            yield f"{rate_hz} Hz, learnt by {name}: heard by {cells} (highest healthy {worst:.2f} of the threshold)"


def gains(encoder: Encoder) -> Iterator[str]:
    """Yield a row for healthy sound and for each fault, with what each gain comes to over the machines."""
    machines = [(kind, seed, learn(encoder, sound(kind, seed, 0, LEARNT_S))) for kind, seed in MACHINES]
    for fault in (None, *FAULTS):
        cells = []
        heard = [(machine, windows(sound(kind, seed, 1, HEARD_S, fault=fault))) for kind, seed, machine in machines]
        for gain_db in GAINS_DB:
            gain = np.float32(10 ** (gain_db / 20))
            said = [machine.verdict(np.clip(gain * each, -1, 1)) for machine, each in heard]
            cells.append(f"{gain_db:+d} dB {said.count('alarm')}/{said.count('sensor-changed')}")
        yield f"{fault or 'healthy'}: {', '.join(cells)}"


def offsets(encoder: Encoder) -> Iterator[str]:
    """Yield how far a constant offset moves the scores of healthy sound."""
    for offset in OFFSETS:
        moved = 0.0
        for kind, seed in MACHINES:
            machine = learn(encoder, sound(kind, seed, 0, LEARNT_S))
            heard = windows(sound(kind, seed, 1, HEARD_S))
            moved = max(moved, float(np.abs(machine.ratios(heard + np.float32(offset)) - machine.ratios(heard)).max()))
        yield f"offset {offset:+.2f}: scores move by {100 * moved:.2f} % of the threshold at most"


def main() -> None:
    """Print the tables for each bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", nargs="+", default=["spectral"])
    parser.add_argument("--table", nargs="+", choices=list(TABLES), default=list(TABLES))
    arguments = parser.parse_args()
    print("resamplers:", ", ".join(RESAMPLERS), flush=True)
    for name in arguments.bundle:
        encoder = Encoder(find_bundle(name))
        for table in arguments.table:
            print(f"== {name}, {table}", flush=True)
            for line in TABLES[table](encoder):
                print(line, flush=True)


TABLES: dict[str, Callable[[Encoder], Iterable[str]]] = {
    "resamplers": resamplers,
    "offsets": offsets,
    "gains": gains,
}

if __name__ == "__main__":
    main()
