"""The int8 variant of a bundle: a second bundle beside it, and a measurement of both on this box."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.encoder import Encoder
from edge_monitor.errors import BundleError
from edge_monitor.export.assembly import Folder
from edge_monitor.export.graph import require_onnx
from edge_monitor.export.place import alone, building, put_in_place, require_free, require_space
from edge_monitor.export.quantization import quantize

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.encode.manifest import BundleFile

SUFFIX = "-int8"
_GET = "edge-monitor models quantize "
# Below this cosine an int8 vector is not taken for the same sound's: the bar this project sets for its own bundle.
ENOUGH = 0.999
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """Two bundles side by side on this box, one thread, rounds taking turns."""

    float_ms: float  # median per window
    int8_ms: float
    cosine: float  # smallest between the two vectors of a sound, over noise, tones and silence
    float_bytes: int  # of all files
    int8_bytes: int

    @property
    def advice(self) -> str:
        """Say which of the two to take on this box, and why."""
        if self.cosine < ENOUGH:
            return f"take the float bundle: int8 turns vectors too far (cosine {self.cosine:.4f}, {ENOUGH} wanted)"
        if self.int8_ms > self.float_ms:
            return f"take the float bundle: int8 is slower here ({self.float_ms / self.int8_ms:.2f} x as fast)"
        return f"take int8: {self.float_ms / self.int8_ms:.1f} x as fast here, cosine {self.cosine:.4f}"


def quantize_bundle(bundle: Bundle, out: Path, say: Callable[[str], None]) -> Bundle:
    """Write the int8 variant of a whole bundle to `out`, whose name becomes the variant's; return it.

    Raises BundleError when the bundle is not whole, has nothing to quantize, or the disk cannot take it.
    """
    require_onnx()
    if (bundle.manifest.get or "").startswith(_GET):
        raise BundleError("is int8 already", where=bundle.name, hint="take it as it is")
    if out.resolve() == bundle.folder.resolve():
        raise BundleError("is the bundle that is read", where=str(out), hint="choose another --out")
    get = _GET + bundle.name
    with alone(out):
        require_free(out, out.name, get)
        bundle.verify()
        require_space(out, sum(file.size_bytes or 0 for file in bundle.manifest.file) // 2)
        with building(out, out.name) as work:
            folder = _quantized(bundle, work, say)
            update = {"name": out.name, "summary": f"{bundle.manifest.summary}; int8", "get": get}
            folder.finish(bundle.manifest.model_copy(update=update))
            open_bundle(work).verify()
            put_in_place(work, out)
    return open_bundle(out)


def _quantized(bundle: Bundle, work: Path, say: Callable[[str], None]) -> Folder:
    """Write every file of the bundle into `work`, its graphs in int8."""
    folder = Folder(work)
    smaller = False
    for file in bundle.manifest.file:
        content = bundle.read_verified(file)
        if Path(file.path).suffix == ".onnx":
            say(file.path)
            content = quantize(content)
            smaller |= len(content) < (file.size_bytes or 0)
        (work / file.path).parent.mkdir(parents=True, exist_ok=True)
        folder.write(file.path, file.part, content)
    if not smaller:
        raise BundleError("has no linear layers to quantize", where=bundle.name, hint="take it as it is")
    return folder


def compare(original: Bundle, variant: Bundle) -> VariantComparison:
    """Run both encoders on the same sounds. Raises as Encoder."""
    encoders = (Encoder(original), Encoder(variant))
    sounds = _sounds(encoders[0].window_samples, encoders[0].sample_rate_hz)
    vectors = [np.concatenate([encoder.embed(sound[None]) for sound in sounds]) for encoder in encoders]
    times_s: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS):
        for encoder, spent in zip(encoders, times_s, strict=True):
            begun = time.perf_counter()
            encoder.embed(sounds[turn % len(sounds)][None])
            spent.append(time.perf_counter() - begun)
    lengths = [np.linalg.norm(rows, axis=1) for rows in vectors]
    cosines = (vectors[0] * vectors[1]).sum(axis=1) / (lengths[0] * lengths[1])
    return VariantComparison(
        float_ms=1e3 * float(np.median(times_s[0])),
        int8_ms=1e3 * float(np.median(times_s[1])),
        cosine=float(cosines.min()),
        float_bytes=_size(original.manifest.file),
        int8_bytes=_size(variant.manifest.file),
    )


def _size(files: tuple[BundleFile, ...]) -> int:
    return sum(file.size_bytes or 0 for file in files)


def _sounds(samples: int, rate_hz: int) -> NDArray[np.float32]:
    """Return noise, tones in faint noise, and silence, (sound, samples)."""
    generator = np.random.default_rng(8)
    time_s = np.arange(samples) / rate_hz
    tones = [0.3 * np.sin(2.0 * np.pi * hz * time_s) + generator.normal(0.0, 1e-4, samples) for hz in (120.0, 1700.0)]
    noise = [generator.normal(0.0, level, samples) for level in (0.1, 0.003)]
    return np.stack([*noise, *tones, np.zeros(samples)]).astype(np.float32)
