"""The one encoder: runs the audio part of any bundle through ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.encode.session import open_session, run
from edge_monitor.errors import BundleError, BundleMismatchError
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.records import Samples, Window

    Waveforms = NDArray[np.float32]
    Vectors = NDArray[np.float32]

_MATRIX = 2  # waveforms and embeddings are (batch, …)


class Encoder:
    """Turns windows into raw embeddings, the same numbers for the same samples.

    Sizes and SHA-256 of the bundle's audio files are checked before anything is loaded. One encoder may serve several
    threads; each call computes with `threads` of its own.

    Raises BundleMissingError, BundleMismatchError or BundleError when the bundle cannot be used.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        if threads < 1:
            raise BundleError(f"threads must be at least 1, got {threads}", where=bundle.name)
        self.bundle = bundle
        # Hashing costs little beside loading, but a manifest is dumped to JSON for it: once.
        self.bundle_hash = bundle.bundle_hash  # hex SHA-256 that stamps this encoder's vectors
        self._audio = audio = bundle.manifest.audio
        self.sample_rate_hz = audio.sample_rate_hz  # that the waveforms must have
        self.window_s = audio.window_s
        self.window_samples = audio.window_samples
        self.dim = audio.dim  # of the embeddings
        scoring = bundle.manifest.scoring
        self.metric = scoring.metric  # the bundle's default one
        self.scoring_normalize = scoring.normalize  # how raw vectors are normalized before they are scored
        floor = scoring.floor_of_each
        # (dim,) float32, added to each dimension's standard deviation; None for a plain Euclidean metric
        self.standardization_floor = None if floor is None else np.full(audio.dim, floor, dtype=np.float32)
        bundle.verify("audio")
        self._session = open_session(bundle, audio.file, threads, keep_buffers=True)
        self._check_interface()

    def embed(self, waveforms: Waveforms) -> Vectors:
        """Return the raw embeddings `(batch, dim)`, float32, of `waveforms` `(batch, samples)`.

        Both are float32; waveforms are mono, full scale ±1. Waveforms shorter than the window are repeated up to it,
        as the manifest says; longer ones are refused, for cutting is the caller's. Raises BundleError for a wrong
        shape, dtype or value, and for an embedding that is not finite.
        """
        fitted = self._fit(waveforms)
        # One window per run: a batch was slower per window (5.4 against 4.3 ms with spectral, and no gain with HTSAT),
        # its memory has no bound, and this way a vector cannot depend on its neighbours.
        return np.concatenate([self._run(window[None, :]) for window in fitted])

    def embed_window(self, window: Window) -> Embedding:
        """Return one window's embedding. Raises BundleError when its rate is not the bundle's, and as `embed`."""
        if window.rate_hz != self.sample_rate_hz:
            raise BundleError(
                f"a window at {window.rate_hz} Hz, the bundle takes {self.sample_rate_hz} Hz", where=self.bundle.name
            )
        return Embedding(vector=self.embed(window.samples[None, :])[0], bundle_hash=self.bundle_hash)

    def _run(self, window: Waveforms) -> Vectors:
        """Return the `(1, dim)` embedding of one window `(1, samples)`."""
        (vectors,) = run(self._session, [self._audio.output], {self._audio.input: window}, where=self.bundle.name)
        if np.shape(vectors) != (1, self.dim):
            raise BundleMismatchError(
                f"the model gives shape {np.shape(vectors)}, the manifest says (1, {self.dim})",
                where=self.bundle.name,
                hint="correct audio.dim",
            )
        if not np.isfinite(vectors).all():
            raise BundleError("the model gives NaN or infinity", where=self.bundle.name, hint="report it to its maker")
        return np.asarray(vectors, dtype=np.float32)

    def _fit(self, waveforms: Samples) -> Waveforms:
        if waveforms.dtype != np.float32:
            raise BundleError(f"waveforms must be float32, got {waveforms.dtype}")
        if waveforms.ndim != _MATRIX or 0 in waveforms.shape:
            raise BundleError(f"waveforms must be (batch, samples) and not empty, got {waveforms.shape}")
        samples = waveforms.shape[1]
        if samples > self.window_samples:
            raise BundleError(f"waveforms of {samples} samples, the window has {self.window_samples}")
        if not np.isfinite(waveforms).all():
            raise BundleError("waveforms hold NaN or infinity")
        if samples < self.window_samples:
            repeats = -(-self.window_samples // samples)
            waveforms = np.tile(waveforms, (1, repeats))[:, : self.window_samples]
        return np.ascontiguousarray(waveforms)

    def _check_interface(self) -> None:
        """Compare the graph's names, types and fixed sizes with the manifest before any sound arrives."""
        where = f"{self.bundle.folder / self._audio.file}"
        inputs = self._session.get_inputs()
        for key, name, width, ports in (
            ("input", self._audio.input, self.window_samples, inputs),
            ("output", self._audio.output, self.dim, self._session.get_outputs()),
        ):
            port = next((port for port in ports if port.name == name), None)
            if port is None:
                names = ", ".join(port.name for port in ports)
                raise BundleMismatchError(f"the model has no {key} {name!r}", where=where, hint=f"it has: {names}")
            if port.type != "tensor(float)":
                raise BundleMismatchError(f"{key} {name!r} is {port.type}", where=where, hint="it must be float32")
            fixed = port.shape[1] if len(port.shape) == _MATRIX else None
            if len(port.shape) != _MATRIX or (isinstance(fixed, int) and fixed != width):
                raise BundleMismatchError(
                    f"{key} {name!r} has shape {port.shape}, the manifest says (batch, {width})",
                    where=where,
                    hint="correct the manifest or the model",
                )
            if isinstance(port.shape[0], int) and port.shape[0] != 1:
                raise BundleMismatchError(
                    f"{key} {name!r} has a fixed batch of {port.shape[0]}", where=where, hint="make it dynamic, or 1"
                )
        extra = [port.name for port in inputs if port.name != self._audio.input]
        if extra:
            raise BundleMismatchError(f"the model wants more inputs: {', '.join(extra)}", where=where)
