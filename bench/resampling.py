"""Resampling a 10 s clip from 48 to 16 kHz: soxr HQ as in the product, soxr's best quality, SciPy's polyphase filter.

python -m bench.resampling

SciPy's default filter does less for its time: it stops a 9 kHz tone, which would alias, by 31 dB, soxr HQ by 144.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import soxr

from bench.pairs import in_turns
from bench.rows import Row, cost_row, markdown
from edge_monitor.capture.resampling import resample

CLIP_S, FROM_HZ, TO_HZ = 10, 48_000, 16_000


def measure(seconds: float) -> list[Row]:
    """Return the rows beside VHQ and, where it is installed, SciPy."""
    clip = np.random.default_rng(0).normal(0.0, 0.1, CLIP_S * FROM_HZ).astype(np.float32)
    half_s = seconds / 2.0
    taken = in_turns(
        lambda: resample(clip, FROM_HZ, TO_HZ),
        lambda: soxr.resample(clip, FROM_HZ, TO_HZ, quality="VHQ"),
        seconds=half_s,
    )
    title = "resampling 10 s, 48 to 16 kHz"
    rows = [cost_row(f"{title}, soxr HQ", taken[:, 0], "soxr VHQ", taken[:, 1], unit="ms", scale=1e3)]
    beside = "scipy.signal.resample_poly"
    if find_spec("scipy") is None:
        return [*rows, Row(f"{title}, beside SciPy", missing="needs scipy")]
    from scipy.signal import resample_poly

    taken = in_turns(
        lambda: resample(clip, FROM_HZ, TO_HZ), lambda: resample_poly(clip, 1, FROM_HZ // TO_HZ), seconds=half_s
    )
    return [*rows, cost_row(f"{title}, beside SciPy", taken[:, 0], beside, taken[:, 1], unit="ms", scale=1e3)]


if __name__ == "__main__":
    print(markdown(measure(10.0)))
