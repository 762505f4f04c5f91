"""Small data sets on disk, in the layouts that are published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_monitor.records import Samples

RATE_HZ = 16_000


def noise(seed: int, seconds: float = 0.1) -> Samples:
    """Return sound that no other seed gives, (frames,) float32."""
    return np.random.default_rng(seed).normal(0.0, 0.05, round(seconds * RATE_HZ)).astype(np.float32)


def write(path: Path, samples: Samples) -> Path:
    """Write a sound file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE_HZ)
    return path


def write_all(folder: Path, names: Iterable[str]) -> None:
    """Write files of different noise."""
    for seed, name in enumerate(names):
        write(folder / name, noise(seed))
