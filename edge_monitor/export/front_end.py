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
_HALF, _QUARTER = FRAME // 2, FRAME // 4
_STRIP = 128  # frames that are stretched at a time
_BLOCK = 64  # divides hop and frame, so that frames are gathered as whole blocks
_FAINTEST = np.float32(1e-10)  # power below which msclap's logarithm is clamped
_SAME = 1e-5  # how far the checkpoint's DFT kernels may be from the DFT; float32 rounding stays below 1e-6


def front_end(graph: Graph, weights: Weights) -> str:
    """Add the nodes from `waveform` (batch, samples) to the stretched log-mel (batch, 1024 time, 64 bands), normalized.

    `weights` are the checkpoint's `spectrogram_extractor.*`, `logmel_extractor.*` and `bn0.*`. Raises BundleError when
    its kernels are not those of a windowed DFT, which this reformulation relies on.
    """
    mel = weights["logmel_extractor.melW"].astype(np.float64)  # (513 bins, 64 bands)
    window = _window(weights)
    used = np.flatnonzero(mel.any(axis=1))
    power = _mel_power(graph, window, used, mel)  # (batch, 965, 64)

    decibel = graph("Log", graph("Max", power, graph.constant(_FAINTEST)))
    gain = weights["bn0.weight"] / np.sqrt(weights["bn0.running_var"].astype(np.float64) + 1e-5)
    shift = weights["bn0.bias"] - weights["bn0.running_mean"] * gain
    # The stretch's rows sum to one, so the batch norm may come first, and with it the decibels.
    scaled = graph("Mul", decibel, graph.constant((gain * 10.0 / np.log(10.0)).astype(np.float32)))
    normed = graph("Add", scaled, graph.constant(shift.astype(np.float32)))
    return _stretched(graph, normed)


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


def _stretched(graph: Graph, frames: str) -> str:
    """Return `frames` (batch, 965, 64) stretched to (batch, 1024, 64), in strips: off its diagonal the matrix is 0."""
    matrix = stretch(FRAMES, STRETCHED).reshape(-1, _STRIP, FRAMES)
    # The first frame that each strip of outputs reads; 128 outputs lie within 121 frames and read 3 more around them.
    first = np.minimum((matrix != 0.0).any(axis=1).argmax(axis=1), FRAMES - _STRIP)
    used = first[:, None] + np.arange(_STRIP)  # (8, 128)
    strips = np.stack([strip[:, columns] for strip, columns in zip(matrix, used, strict=True)])
    taken = graph("Gather", frames, graph.constant(used), axis=1)  # (batch, 8, 128, 64)
    product = graph("MatMul", graph.constant(strips.astype(np.float32)), taken)
    return graph("Reshape", product, graph.ints(-1, STRETCHED, BANDS))


def _window(weights: Weights) -> NDArray[np.float64]:
    """Return the (1024,) window in the checkpoint's kernels, after checking that they are a DFT's."""
    real, imaginary = (weights[f"spectrogram_extractor.stft.conv_{part}.weight"][:, 0] for part in ("real", "imag"))
    turn = 2.0 * np.pi * (np.outer(np.arange(_HALF + 1), np.arange(FRAME)) % FRAME) / FRAME
    window = real[0].astype(np.float64)  # the cosine of frequency 0 is 1
    error = max(np.abs(real - window * np.cos(turn)).max(), np.abs(imaginary + window * np.sin(turn)).max())
    lopsided = np.abs(window[1:] - window[:0:-1]).max()
    if max(error, lopsided, abs(window[0])) > _SAME:
        raise BundleError("the checkpoint's spectrogram is not a DFT with a symmetric window",
                          hint="this checkpoint is of another kind than the one this export was made for")  # fmt: skip
    window = 0.5 * (window + np.roll(window[::-1], 1))
    window[0] = 0.0
    return np.asarray(window)


def _mel_power(graph: Graph, window: NDArray[np.float64], used: NDArray[np.int64], mel: NDArray[np.float64]) -> str:
    """Return the mel power (batch, 965, 64) of the bins in `used`.

    With the Hann window symmetric about sample 512, cosines see only sums and sines only differences of the samples
    n and 1024 - n; under n -> 512 - n the cosine of an even bin is even and that of an odd bin odd, and the sine the
    other way round. So four products with 256 (or 257) rows do the work of two with 1024.
    """
    padded = graph("Pad", "waveform", graph.ints(0, _HALF, 0, _HALF), mode="reflect")
    length = SAMPLES + FRAME
    forward = _blocks(graph, padded, 0)
    # one sample more than a frame's end, so that block starts fall on n = 0, 64, …
    offset = (length - 1 - FRAME) % _BLOCK
    reverse = graph("Slice", padded, graph.ints(-1), graph.ints(-length - 1), graph.ints(1), graph.ints(-1))
    backward = _blocks(graph, reverse, offset)

    frame = np.arange(FRAMES) * HOP // _BLOCK
    quarter = np.arange(_QUARTER // _BLOCK)

    def gather(blocks: str, first: NDArray[np.int64]) -> str:
        indices = graph.constant((first[:, None] + quarter).astype(np.int64))  # (965, 4)
        return graph("Reshape", graph("Gather", blocks, indices, axis=1), graph.ints(-1, FRAMES, _QUARTER))

    mirrored = (length - 1 - FRAME - offset) // _BLOCK - frame  # block of sample 1024, counted backwards
    start, after = gather(forward, frame), gather(forward, frame + _HALF // _BLOCK)  # x[n], x[512 + n]
    end, before = gather(backward, mirrored), gather(backward, mirrored + _HALF // _BLOCK)  # x[1024 - n], x[512 - n]
    outer = graph.constant(window[:_QUARTER].astype(np.float32))
    inner_window = window[_HALF : _HALF - _QUARTER : -1].copy()
    inner_window[0] *= 0.5  # sample 512 is its own mirror image and comes twice
    inner = graph.constant(inner_window.astype(np.float32))
    a, c = (graph("Mul", graph(op, start, end), outer) for op in ("Add", "Sub"))
    b, d = (graph("Mul", graph(op, before, after), inner) for op in ("Add", "Sub"))

    # samples 256 and 768, which the second fold maps onto themselves
    first_of = graph("Squeeze", graph("Slice", forward, graph.ints(0), graph.ints(1), graph.ints(2)), graph.ints(2))
    left, right = (
        graph("Gather", first_of, graph.constant((frame + at // _BLOCK)[:, None]), axis=1) for at in (256, 768)
    )
    middle = graph.constant(np.float32(window[_QUARTER]))
    both, apart = (graph("Mul", graph(op, left, right), middle) for op in ("Add", "Sub"))

    even, odd = used[used % 2 == 0], used[used % 2 == 1]
    real_even = _product(graph, graph("Concat", graph("Add", a, b), both, axis=2), np.cos, even, _QUARTER + 1)
    real_odd = _product(graph, graph("Sub", a, b), np.cos, odd, _QUARTER)
    imaginary_even = _product(graph, graph("Sub", c, d), np.sin, even, _QUARTER)
    imaginary_odd = _product(graph, graph("Concat", graph("Add", c, d), apart, axis=2), np.sin, odd, _QUARTER + 1)
    halves = [
        graph(
            "MatMul", graph("Add", graph("Mul", re, re), graph("Mul", im, im)), graph.constant(mel[bins].astype("f4"))
        )
        for re, im, bins in ((real_even, imaginary_even, even), (real_odd, imaginary_odd, odd))
    ]
    return graph("Add", *halves)


def _blocks(graph: Graph, waveform: str, offset: int) -> str:
    """Return a waveform from `offset` as (batch, blocks, 64), the rest cut off."""
    blocks = (SAMPLES + FRAME - offset) // _BLOCK
    cut = graph("Slice", waveform, graph.ints(offset), graph.ints(offset + blocks * _BLOCK), graph.ints(1))
    return graph("Reshape", cut, graph.ints(-1, blocks, _BLOCK))


def _product(
    graph: Graph,
    rows: str,
    wave: np.ufunc,
    bins: NDArray[np.int64],
    samples: int,
) -> str:
    """Return `rows` (batch, time, samples) times the cosines or sines (samples, bins)."""
    turn = 2.0 * np.pi * (np.outer(np.arange(samples), bins) % FRAME) / FRAME
    return graph("MatMul", rows, graph.constant(wave(turn).astype(np.float32)))
