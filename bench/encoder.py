"""Encoding cost: milliseconds per window and microphones per core, beside a plain NumPy computation of the same size.

python bench/encoder.py [--bundle spectral] [--hop-s 1.0]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SHARE = 0.8  # of a core that encoding may take; the rest is capture, scoring and the system


def seconds_each(work: Callable[[], object], rounds: int) -> NDArray[np.float64]:
    """Return the wall time of each call, seconds, after a short warm-up."""
    for _ in range(5):
        work()
    times = np.empty(rounds)
    for i in range(rounds):
        begun = time.perf_counter()
        work()
        times[i] = time.perf_counter() - begun
    return times


def numpy_spectrogram(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a `(time, 513)` power spectrogram: what an encoder's front end costs in plain NumPy."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 1024)[::512]
    spectrum = np.fft.rfft(frames * np.hanning(1024).astype(np.float32))
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


def rss_mb() -> float:
    """Return the resident memory now, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="spectral", help="a bundle's name, or a path with a slash")
    parser.add_argument("--hop-s", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()

    before_mb = rss_mb()
    begun = time.perf_counter()
    encoder = Encoder(find_bundle(options.bundle, base=Path.cwd()), threads=1)
    loading_s = time.perf_counter() - begun
    generator = np.random.default_rng(0)
    window = generator.normal(0.0, 0.1, (1, encoder.window_samples)).astype(np.float32)
    single = seconds_each(lambda: encoder.embed(window), options.rounds)
    added_mb = rss_mb() - before_mb
    plain = seconds_each(lambda: numpy_spectrogram(window[0]), max(10, options.rounds // 4))
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
    print(f"| time / a bare NumPy spectrogram's ({1e3 * np.median(plain):.2f} ms) | {p50 / np.median(plain):.2f} |")
    print(f"| memory the encoder adds, ONNX Runtime included | {added_mb:.0f} MB |")


if __name__ == "__main__":
    main()
