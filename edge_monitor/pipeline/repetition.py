"""Which repetition made the largest part of a window's score, if one did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.explain.band_findings import around
from edge_monitor.explain.spectrogram import mel_edges
from edge_monitor.memory.generations import list_generations
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.scoring_methods import SUB_BAND, sub_bands
from edge_monitor.records import Repetition

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.encode.manifest import EnvelopeBlock
    from edge_monitor.records import Embedding

_STANDS_OUT = 2.0  # in the scoring space: one in 240 healthy windows of simulated machines rises so far
_JOINS = 0.5  # a band belongs to the repetition from this part of the strongest one's rise on


def repetition_of(apart: NDArray[np.floating], bands: int, envelope: EnvelopeBlock) -> Repetition | None:
    """Return what repeats in a window that lies `apart` (dim,) from its nearest normals, in the scoring space.

    It is the last block's largest rise, where that block makes more of the distance than any other in the sub-band
    that is furthest away; None where something else does, where no rise stands out, or a fall is twice as large.
    """
    first = len(apart) - envelope.values
    furthest = max(sub_bands(len(apart), bands), key=lambda dims: float(apart[dims] @ apart[dims]))
    blocks = np.bincount(furthest // bands, apart[furthest] ** 2)
    if int(blocks.argmax()) != first // bands:
        return None
    here = furthest[furthest >= first]
    strongest = int(here[np.argmax(apart[here])])
    if apart[strongest] < max(_STANDS_OUT, float(np.abs(apart[here]).max()) / 2):
        return None
    band, octave = divmod(strongest - first, len(envelope.rates_hz) - 1)
    rises = apart[first:].reshape(envelope.bands, -1)[:, octave]
    low, high = around(rises >= _JOINS * rises[band], band)
    edges_hz = mel_edges(envelope.low_hz, envelope.high_hz, envelope.bands)
    middles_hz = (edges_hz[1:] + edges_hz[:-1]) / 2  # where a triangle is half as high
    return Repetition(
        band_hz=(float(middles_hz[low]), float(middles_hz[high + 1])),
        per_s=(envelope.rates_hz[octave], envelope.rates_hz[octave + 1]),
        deviation=float(rises[band]) / _STANDS_OUT,
    )


def load_repetition(
    connection: sqlite3.Connection,
    machine: str,
    generation: int,
    nearest: Sequence[int],
    embedding: Embedding | None,
    *,
    bundle: Bundle,
) -> Repetition | None:
    """Return what repeats in a window that was scored by a generation, beside its `nearest` normals.

    None when nothing does, or that cannot be said: the bundle or the scorer is another, or has no such part.
    """
    own = bundle.manifest.scorer
    found = next((each for each in list_generations(connection, machine) if each.number == generation), None)
    if found is None or embedding is None or own.envelope is None or found.bands is None or not nearest:
        return None
    if found.scorer not in SUB_BAND or not found.bundle_hash == embedding.bundle_hash == bundle.bundle_hash:
        return None
    normals = found.scaler.apply(Normals(connection, machine).vectors(nearest))
    apart = found.scaler.apply(embedding.vector) - normals.mean(axis=0, dtype=np.float64)
    return repetition_of(apart, found.bands, own.envelope)
