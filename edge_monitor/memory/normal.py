"""A normal: one healthy window that is remembered, what was measured of it, and the recording it comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.errors import BundleMismatchError, NormalsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What was measured of a normal at enrolment. None: not measured, as of one learnt from a rejected alarm."""

    quietest_dbfs: float | None = None  # level of its quietest moment, dB re full scale: for the gate
    acoustics: str | None = None  # JSON, as `explain.acoustics.Acoustics.to_json` writes it: for explanations

    def to_json(self) -> str:
        """Return what a row keeps. Raises NormalsError when the acoustics are not JSON."""
        try:
            acoustics = None if self.acoustics is None else json.loads(self.acoustics)
        except ValueError as error:
            raise NormalsError(f"a window's acoustics are not JSON: {error}") from error
        return json.dumps({"quietest_dbfs": self.quietest_dbfs, "acoustics": acoustics})

    @classmethod
    def from_json(cls, text: str) -> Descriptors:
        """Return what a row keeps; earlier versions kept the acoustics as JSON text in the JSON.

        Raises NormalsError when it is damaged.
        """
        try:
            fields = json.loads(text)
            quietest_dbfs, acoustics = fields.get("quietest_dbfs"), fields.get("acoustics")
            return cls(
                None if quietest_dbfs is None else float(quietest_dbfs),
                acoustics if acoustics is None or isinstance(acoustics, str) else json.dumps(acoustics),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise NormalsError(f"stored descriptors of a normal cannot be read: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class NewNormal:
    """A healthy window about to be remembered."""

    block: int  # calibration block within the recording, see `leaveout.block_of`
    start_s: float  # position in the recording, seconds
    level_dbfs: float  # RMS level, dB re full scale
    vector: NDArray[np.float32]  # (dim,) raw
    spectrogram: bytes | None = None  # compact picture
    descriptors: Descriptors | None = None
    mode: str | None = None  # operating mode

    def __post_init__(self) -> None:
        """Refuse what could never be compared."""
        if self.vector.ndim != 1 or not len(self.vector) or not np.isfinite(self.vector).all():
            raise NormalsError("an embedding is not a finite vector", where=f"window at {self.start_s:g} s")
        if self.block < 0 or not np.isfinite([self.start_s, self.level_dbfs]).all():
            raise NormalsError("a window has no proper block, start or level", where=f"window at {self.start_s:g} s")


@dataclass(frozen=True, slots=True)
class NewRecording:
    """A recording with its healthy windows, about to be remembered."""

    name: str
    sha256: str  # of the file's bytes, of the vectors when live: makes it idempotent
    seconds: float
    normals: Sequence[NewNormal]
    added_ms: int | None = None  # wall clock, milliseconds; None: now


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one recording."""

    recording_id: int
    count: int  # normals now in use that were not before
    already: bool  # True: this sound was known; `count` is what a removal had taken away and is back
    thinned: int = 0  # near-duplicates left out


@dataclass(frozen=True, slots=True)
class Recording:
    """Where normals come from: a file, or a stretch of live sound."""

    id: int
    name: str
    sha256: str
    seconds: float
    added_ms: int  # wall clock, milliseconds since 1970-01-01 UTC
    normals: int  # in use
    removed: int  # removed, restorable


@dataclass(frozen=True, slots=True)
class Normal:
    """A remembered window, without its vector."""

    id: int
    recording_id: int
    recording: str
    block: int
    start_s: float
    level_dbfs: float
    mode: str | None
    bundle_hash: str
    removed_ms: int | None  # None: in use


def bundle_mismatch(machine: str, hashes: Sequence[str]) -> BundleMismatchError:
    """Return the error for vectors of more than one bundle."""
    return BundleMismatchError(
        f"vectors of another bundle: {' and '.join(text[:12] for text in hashes)}",
        where=machine,
        hint="vectors of two models cannot be compared; see docs/bundles.md, 'Going over to another bundle'",
    )
