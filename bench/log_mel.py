"""The embedded encoder beside librosa's log-mel spectrogram with two of its three statistics: one window, one thread.

OMP_NUM_THREADS=1 .venv-export/bin/python -m bench.log_mel

librosa comes with msclap; alone it would bring numba and LLVM, some 200 MB, which no other part needs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.encoder import noise
from bench.pairs import in_turns
from bench.rows import NotMeasuredError, Row, cost_row, markdown
from edge_monitor.encode.bundle import find_bundle
from edge_monitor.encode.encoder import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS, FFT, HOP = 128, 1024, 512  # docs/detection.md


def librosa_embedding(waveform: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Return the maximum and standard deviation over time of a log-mel spectrogram, (256,) dB."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=waveform, sr=rate_hz, n_fft=FFT, hop_length=HOP, n_mels=BANDS, htk=True, norm=None, center=False
    )
    level_db = librosa.power_to_db(mel, top_db=None)  # (band, time)
    return np.concatenate([level_db.max(axis=1), level_db.std(axis=1)])


def measure(seconds: float) -> list[Row]:
    """Return the row."""
    if find_spec("librosa") is None:
        raise NotMeasuredError("needs librosa")
    encoder = Encoder(find_bundle("spectral", base=Path.cwd()), threads=1)
    window = noise(encoder)
    taken = in_turns(
        lambda: encoder.embed(window), lambda: librosa_embedding(window[0], encoder.sample_rate_hz), seconds=seconds
    )
    what, beside = "spectral encoder beside librosa, one window", "librosa log-mel, maximum and deviation"
    return [cost_row(what, taken[:, 0], beside, taken[:, 1], unit="ms", scale=1e3)]


if __name__ == "__main__":
    print(markdown(measure(15.0)))
