"""Encoding cost: milliseconds per window and microphones per core, beside a plain NumPy computation of the same size.

python -m bench.encoder [--bundle spectral] [--hop-s 1.0]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from bench.pairs import Ratio, in_turns
from bench.rows import Row, cost_row
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHARE = 0.8  # of a core that encoding may take; the rest is capture, scoring and the system


def numpy_spectrogram(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a `(time, 513)` power spectrogram: what an encoder's front end costs in plain NumPy."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 1024)[::512]
    spectrum = np.fft.rfft(frames * np.hanning(1024).astype(np.float32))
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


def noise(encoder: Encoder) -> NDArray[np.float32]:
    """Return a window of noise, (1, samples)."""
    return np.random.default_rng(0).normal(0.0, 0.1, (1, encoder.window_samples)).astype(np.float32)


def measure(seconds: float) -> list[Row]:
    """Return the embedded bundle's row."""
    encoder = Encoder(find_bundle("spectral", base=Path.cwd()), threads=1)
    window = noise(encoder)
    taken = in_turns(lambda: encoder.embed(window), lambda: numpy_spectrogram(window[0]), seconds=seconds)
    what, beside = "spectral encoder, one window", "a bare NumPy spectrogram"
    return [cost_row(what, taken[:, 0], beside, taken[:, 1], unit="ms", scale=1e3)]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="spectral", help="a bundle's name, or a path with a slash")
    parser.add_argument("--hop-s", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()

    process = psutil.Process()
    before_mb = process.memory_info().rss / 1e6
    begun = time.perf_counter()
    encoder = Encoder(find_bundle(options.bundle, base=Path.cwd()), threads=1)
    loading_s = time.perf_counter() - begun
    window = noise(encoder)
    encoder.embed(window)
    added_mb = process.memory_info().rss / 1e6 - before_mb
    rounds = options.rounds
    taken = in_turns(lambda: encoder.embed(window), lambda: numpy_spectrogram(window[0]), seconds=0.0, fewest=rounds)
    single, plain = taken.T
    beside = Ratio.of(single, plain).median
    p50, p99 = np.percentile(single, [50, 99])

    print(f"{encoder.bundle.name}: windows of {encoder.window_s:g} s at {encoder.sample_rate_hz} Hz, one thread\n")
    print("| figure | value |")
    print("|---|--:|")
    print(f"| load, with checking the hash | {1e3 * loading_s:.0f} ms |")
    print(f"| one window, p50 | {1e3 * p50:.2f} ms |")
    print(f"| one window, p99 | {1e3 * p99:.2f} ms |")
    print(f"| faster than real time | {encoder.window_s / p50:.0f} x |")
    print(
        f"| microphones per core at hop {options.hop_s:g} s, {_SHARE:.0%} busy | {_SHARE * options.hop_s / p50:.0f} |"
    )
    print(f"| time / a bare NumPy spectrogram's ({1e3 * np.median(plain):.2f} ms) | {beside:.2f} |")
    print(f"| memory the encoder adds, ONNX Runtime included | {added_mb:.0f} MB |")


if __name__ == "__main__":
    main()
