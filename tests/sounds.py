"""Sound for the tests: a simulated pump, healthy or not, as arrays and as WAV files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import soundfile

from edge_monitor.capture.simulator import RATE_HZ, render
from edge_monitor.config.machine import SimulatorSource

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.records import Samples

CLIP_S = 10


def pump(seconds: float, **settings: Any) -> Samples:  # noqa: ANN401 - SimulatorSource's own fields
    """Return so much sound of the simulated pump at 16 kHz, (frames,) float32."""
    fields = {"kind": "simulator", "machine": "pump", "fault_at_s": 0.0, **settings}
    return render(SimulatorSource.model_validate(fields), seconds)


def write_clips(folder: Path, prefix: str, samples: Samples, rate_hz: int = RATE_HZ) -> list[Path]:
    """Write sound as 10 s WAV files `{prefix}_000.wav`, … and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, len(samples) - CLIP_S * rate_hz + 1, CLIP_S * rate_hz)):
        path = folder / f"{prefix}_{number:03d}.wav"
        soundfile.write(path, samples[start : start + CLIP_S * rate_hz], rate_hz, subtype="PCM_16")
        paths.append(path)
    return paths
