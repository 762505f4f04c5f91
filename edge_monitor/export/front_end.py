"""MS-CLAP's log-mel front end as plain matrix products: waveform to the picture that its network reads.

The numbers that run are those of msclap's HTSAT, not of its YAML file: 1024-point Hann frames every 320 samples (of
44.1 kHz sound, though the filters were made for 32 kHz), 64 bands, and 965 frames stretched to 1024 (bicubic).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.export.graph import Graph, Weights

SAMPLES = 308_700  # 7 s at 44.1 kHz
FRAME = 1024
HOP = 320
FRAMES = 1 + SAMPLES // HOP  # 965, frames being centred
BANDS = 64
STRETCHED = 1024
_HALF = FRAME // 2
_STRIP = 128  # frames that are read and stretched at a time: 0.5 MB between two steps
_RADIX = 32  # 1024 = 32 * 32; divides the hop, so that frames begin at whole blocks
_STEP = HOP // _RADIX  # blocks from one frame to the next
_BLOCKS = (SAMPLES + FRAME) // _RADIX  # of the padded sound
_FAINTEST = np.float32(1e-10)  # power below which msclap's logarithm is clamped
_SAME = 1e-5  # how far the checkpoint's DFT kernels may be from the DFT; float32 rounding stays below 1e-6


def front_end(graph: Graph, weights: Weights) -> str:
    """Add the nodes from `waveform` (batch, samples) to the stretched log-mel (batch, 1024 time, 64 bands), normalized.

    `weights` are the checkpoint's `spectrogram_extractor.*`, `logmel_extractor.*` and `bn0.*`. Raises BundleError when
    its kernels are not those of a windowed DFT, which this reformulation relies on.
    """
    mel = weights["logmel_extractor.melW"].astype(np.float64)  # (513 bins, 64 bands)
    gain = weights["bn0.weight"] / np.sqrt(weights["bn0.running_var"].astype(np.float64) + 1e-5)
    shift = weights["bn0.bias"] - weights["bn0.running_mean"] * gain
    scale = (gain * 10.0 / np.log(10.0)).astype(np.float32)[:, None]  # of a natural logarithm, with the decibels
    window = _window(weights)
    first, matrices = _strips()

    def stretched(strip: str, matrix: str) -> str:
        """Return a strip of the picture (batch, 128, 64) of the blocks it is made of (batch, 1302, 32)."""
        power = _mel_power(graph, strip, window, mel)
        decibel = graph("Log", graph("Max", power, _FAINTEST))
        scaled = graph("Mul", decibel, scale)
        # The stretch's rows sum to one, so that the batch norm may come first.
        normed = graph("Add", scaled, shift.astype(np.float32)[:, None])
        return graph("MatMul", matrix, graph("Transpose", normed, perm=[0, 2, 1]))

    padded = graph("Pad", "waveform", (0, _HALF, 0, _HALF), mode="reflect")
    whole = graph("Slice", padded, (0,), (_BLOCKS * _RADIX,), (1,))
    blocks = graph("Reshape", whole, (-1, _BLOCKS, _RADIX))
    read = first[:, None] * _STEP + np.arange((_STRIP - 1) * _STEP + _RADIX)  # blocks
    strips = graph("Gather", blocks, read, axis=1)
    pictures = graph.each(stretched, strips, graph.constant(matrices))
    return graph("Reshape", pictures, (-1, STRETCHED, BANDS))


def stretch(old: int, new: int) -> NDArray[np.float64]:
    """Return the (new, old) matrix of a bicubic resize with aligned corners, a = -0.75, edges repeated: torch's."""
    position = np.arange(new) * ((old - 1) / (new - 1))
    left = np.minimum(np.floor(position).astype(int), old - 1)
    offset = position - left
    a = -0.75

    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0

    def far(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a

    matrix = np.zeros((new, old))
    for tap, share in enumerate((far(offset + 1.0), near(offset), near(1.0 - offset), far(2.0 - offset))):
        np.add.at(matrix, (np.arange(new), np.clip(left + tap - 1, 0, old - 1)), share)
    return matrix


def _strips() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the first of the 128 frames that each strip reads, and their stretch (strip, 128 outputs, 128 frames).

    Off its diagonal the stretch is 0: 128 outputs lie within 121 frames and read 3 more around them.
    """
    matrix = stretch(FRAMES, STRETCHED).reshape(-1, _STRIP, FRAMES)
    first = np.minimum((matrix != 0.0).any(axis=1).argmax(axis=1), FRAMES - _STRIP)
    used = first[:, None] + np.arange(_STRIP)
    strips = np.stack([strip[:, columns] for strip, columns in zip(matrix, used, strict=True)])
    return first, strips.astype(np.float32)


def _window(weights: Weights) -> NDArray[np.float64]:
    """Return the (1024,) window in the checkpoint's kernels, after checking that they are a DFT's."""
    real, imaginary = (weights[f"spectrogram_extractor.stft.conv_{part}.weight"][:, 0] for part in ("real", "imag"))
    turn = 2.0 * np.pi * (np.outer(np.arange(_HALF + 1), np.arange(FRAME)) % FRAME) / FRAME
    window = real[0].astype(np.float64)  # the cosine of frequency 0 is 1
    error = max(np.abs(real - window * np.cos(turn)).max(), np.abs(imaginary + window * np.sin(turn)).max())
    lopsided = np.abs(window[1:] - window[:0:-1]).max()
    if max(error, lopsided, abs(window[0])) > _SAME:
        raise BundleError(
            "the checkpoint's spectrogram is not a DFT with a symmetric window",
            hint="this checkpoint is of another kind than the one this export was made for",
        )
    window = 0.5 * (window + np.roll(window[::-1], 1))
    window[0] = 0.0
    return np.asarray(window)


def _mel_power(graph: Graph, blocks: str, window: NDArray[np.float64], mel: NDArray[np.float64]) -> str:
    """Return the mel power (batch, 64, 128 frames) of `blocks` of 32 samples (batch, 1302, 32).

    A Fourier transform in two steps, as Cooley and Tukey's: with sample n = 32 a + b and bin k = low + 32 high,

        X[k] = sum over b of e^(-2πi b high / 32) * (sum over a of w[n] x[n] e^(-2πi n low / 1024)).

    The inner sum is a convolution over every 32nd sample, with filters of its own for each b: window and twiddle
    factors cost nothing. The sound is real, so that low stops at 16 and negative bins stand for their positive twins.
    """
    highest = int(np.flatnonzero(mel.any(axis=1)).max())
    place, low = np.arange(_RADIX), np.arange(_RADIX // 2 + 1)
    high = np.arange(-(highest // _RADIX + 1), highest // _RADIX + 1)

    sample = _RADIX * place + place[:, None]  # (b, a)
    inner = window[sample][:, None] * _unit_circle(low[:, None] * sample[:, None], FRAME)  # (b, low, a)
    kernels = np.stack([inner.real, inner.imag], axis=2).reshape(-1, 1, _RADIX)
    outer = _unit_circle(high[:, None] * place, _RADIX)  # (high, b)
    # the rows are the real parts for each high, then the imaginary ones; the columns both parts for each b
    complex_product = np.stack([outer.real, -outer.imag, outer.imag, outer.real]).reshape(2, 2, *outer.shape)
    spectrum = complex_product.transpose(0, 2, 3, 1).reshape(2 * len(high), 2 * _RADIX)

    by_place = graph("Transpose", blocks, perm=[0, 2, 1])
    sums = graph("Conv", by_place, kernels.astype("f4"), group=_RADIX, strides=[_STEP])
    by_part = graph("Reshape", sums, (-1, _RADIX, len(low), 2 * _STRIP))
    by_low = graph("Transpose", by_part, perm=[0, 2, 1, 3])
    joined = graph("Reshape", by_low, (-1, len(low), 2 * _RADIX, _STRIP))
    parts = graph("MatMul", spectrum.astype("f4"), joined)
    by_bin = graph("Reshape", graph("Mul", parts, parts), (-1, len(low), 2, len(high) * _STRIP))
    power = graph("ReduceSum", by_bin, (2,), keepdims=0)

    bins = np.abs(low[:, None] + _RADIX * high)  # beyond the highest, mel is 0
    share = mel[bins] / np.bincount(bins.reshape(-1))[bins][..., None]  # of bins that come twice, half
    filters = graph.constant(share.reshape(-1, BANDS).T.astype("f4"))
    return graph("MatMul", filters, graph("Reshape", power, (-1, bins.size, _STRIP)))


def _unit_circle(steps: NDArray[np.int64], whole: int) -> NDArray[np.complex128]:
    """Return e^(-2πi steps / whole)."""
    return np.asarray(np.exp(-2j * np.pi * (steps % whole) / whole))
