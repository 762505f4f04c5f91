"""Recordings with their normals in one portable file: from one box to another, from a command to its node."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_monitor.durable import replacing
from edge_monitor.errors import NormalsError, StorageError, os_errors_as
from edge_monitor.memory.changes import add_all
from edge_monitor.memory.normal import Descriptors, NewNormal, NewRecording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from numpy.typing import NDArray

    from edge_monitor.memory.normal import Normal
    from edge_monitor.memory.normals import Normals
    from edge_monitor.store.store import Store

# A NumPy .npz archive of plain arrays, read without pickle: `about` (JSON as uint8: recordings and their windows),
# `vectors` (n, dim) float32, `pictures` (all spectrograms joined, uint8) and `checksum` (SHA-256 of the other three).
_PARTS = ("about", "vectors", "pictures")
_MEMBERS = {f"{name}.npy" for name in (*_PARTS, "checksum")}

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=0, lt=1 << 53)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _Recording(_Entry):
    id: int
    name: str
    sha256: str
    seconds: _Number
    added_ms: _Whole | None  # None: when it is taken in


class _Window(_Entry):
    block: _Whole
    start_s: _Number
    level_dbfs: _Number
    mode: str | None
    descriptors: str | None
    recording: int
    picture_bytes: _Whole | None


class _About(_Entry):
    format: Literal["edge-monitor normals 1"] = "edge-monitor normals 1"
    machine: str
    bundle_hash: str
    recordings: list[_Recording]
    windows: list[_Window]


@dataclass(frozen=True, slots=True)
class Moved:
    """What an export wrote or an import added."""

    recordings: int
    normals: int
    already: int  # recordings that were known (import)


@dataclass(frozen=True, slots=True)
class Portable:
    """What a file holds."""

    bundle_hash: str
    recordings: tuple[NewRecording, ...]


def export_normals(store: Normals, path: Path) -> Moved:
    """Write all normals in use to `path`, with their recordings, places, levels, pictures and descriptors.

    Raises NormalsError when there are none, StorageError when the file cannot be written.
    """
    normals = store.normals()
    if not normals:
        raise NormalsError("no normals to export", where=store.machine, hint="enrol first")
    vectors = store.vectors([normal.id for normal in normals])
    by_recording: dict[int, list[NewNormal]] = {}
    for normal, vector in zip(normals, vectors, strict=True):
        by_recording.setdefault(normal.recording_id, []).append(
            NewNormal(
                **_place(normal),
                vector=vector,
                spectrogram=store.spectrogram(normal.id),
                descriptors=kept if (kept := store.descriptors(normal.id)) != Descriptors() else None,
            )
        )
    recordings = [
        NewRecording(each.name, each.sha256, each.seconds, by_recording[each.id], each.added_ms)
        for each in store.recordings()
        if each.id in by_recording
    ]
    with (
        os_errors_as(StorageError, "cannot write the export", where=path),
        replacing(path) as fresh,
        fresh.open("wb") as file,
    ):
        write_recordings(file, store.machine, recordings, bundle_hash=normals[0].bundle_hash)
    return Moved(len(recordings), len(normals), already=0)


def write_recordings(file: IO[bytes], machine: str, recordings: Sequence[NewRecording], *, bundle_hash: str) -> None:
    """Write recordings with their normals, one at least, as a portable file. Raises OSError."""
    normals = [(number, normal) for number, each in enumerate(recordings) for normal in each.normals]
    about = _About(
        machine=machine,
        bundle_hash=bundle_hash,
        recordings=[
            _Recording(id=number, name=r.name, sha256=r.sha256, seconds=r.seconds, added_ms=r.added_ms)
            for number, r in enumerate(recordings)
        ],
        windows=[
            _Window(
                **_place(n),
                descriptors=None if n.descriptors is None else n.descriptors.to_json(),
                recording=number,
                picture_bytes=None if n.spectrogram is None else len(n.spectrogram),
            )
            for number, n in normals
        ],
    )
    parts = {
        "about": np.frombuffer(about.model_dump_json().encode(), dtype=np.uint8),
        "vectors": np.stack([normal.vector for _, normal in normals]).astype("<f4"),  # (n, dim)
        "pictures": np.frombuffer(b"".join(normal.spectrogram or b"" for _, normal in normals), dtype=np.uint8),
    }
    np.savez(file, allow_pickle=False, checksum=_checksum(parts), **parts)


def read_recordings(file: Path | IO[bytes], *, where: str) -> Portable:
    """Return the recordings of a portable file, which is named `where` to a person.

    Raises NormalsError when it is not a whole one.
    """
    parts = _open(file, where)
    try:
        about = _About.model_validate_json(parts["about"].tobytes())
        normals = _windows(about.windows, parts["vectors"], parts["pictures"].tobytes())
        by_recording: dict[int, list[NewNormal]] = {}
        for window, normal in zip(about.windows, normals, strict=True):
            by_recording.setdefault(window.recording, []).append(normal)
        recordings = tuple(
            NewRecording(entry.name, entry.sha256, entry.seconds, by_recording[entry.id], entry.added_ms)
            for entry in about.recordings
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _unusable(where, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, KeyError) as error:
        raise _unusable(where, f"{type(error).__name__}: {error}") from error
    return Portable(about.bundle_hash, recordings)


def import_normals(store: Store, machine: str, found: Portable, *, where: str) -> Moved:
    """Add every recording of an exported file (named `where` to a person) that is not known yet, all of them or none.

    Raises NormalsError when the file cannot have been exported, BundleMismatchError when it comes from another bundle
    than the normals in use.
    """
    try:
        added = add_all(store, machine, found.recordings, bundle_hash=found.bundle_hash, thin=False)
    except (ValueError, KeyError) as error:
        raise _unusable(where, f"{type(error).__name__}: {error}") from error
    return Moved(len(found.recordings), sum(a.count for a in added), already=sum(a.already for a in added))


def _open(file: Path | IO[bytes], where: str) -> dict[str, NDArray[np.generic]]:
    """Return the file's parts, their checksum verified before anything is made of them."""
    try:
        with zipfile.ZipFile(file) as archive:  # stored, not compressed: nothing can be larger than the file
            entries = archive.infolist()
            if {e.filename for e in entries} != _MEMBERS or any(e.compress_type != zipfile.ZIP_STORED for e in entries):
                raise _unusable(where, "other parts than an export has")
        if not isinstance(file, Path):
            file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            parts = {name: archive[name] for name in _PARTS}
            checksum = archive["checksum"]
    except OSError as error:
        raise NormalsError(f"cannot be read: {error.strerror or error}", where=where) from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _unusable(where, str(error)) from error
    if checksum.tobytes() != _checksum(parts).tobytes():
        raise _unusable(where, "wrong checksum")
    return parts


def _windows(entries: list[_Window], vectors: NDArray[np.generic], pictures: bytes) -> list[NewNormal]:
    if vectors.ndim != 2 or vectors.dtype != np.dtype("<f4"):  # noqa: PLR2004 - (n, dim)
        raise ValueError("vectors are not (n, dim) float32")
    normals, offset = [], 0
    for entry, vector in zip(entries, vectors.astype(np.float32), strict=True):
        picture = None if entry.picture_bytes is None else pictures[offset : offset + entry.picture_bytes]
        offset += 0 if picture is None else len(picture)
        normals.append(
            NewNormal(
                **_place(entry),
                vector=vector,
                spectrogram=picture,
                descriptors=None if entry.descriptors is None else Descriptors.from_json(entry.descriptors),
            )
        )
    return normals


def _place(window: Normal | NewNormal | _Window) -> dict[str, Any]:
    return {name: getattr(window, name) for name in ("block", "start_s", "level_dbfs", "mode")}


def _checksum(parts: dict[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
    digest = hashlib.sha256()
    for name in _PARTS:
        digest.update(f"{name} {parts[name].dtype.str} {parts[name].shape}|".encode())
        digest.update(np.ascontiguousarray(parts[name]).tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _unusable(where: str, why: str) -> NormalsError:
    return NormalsError(f"not a whole export of normals: {why}", where=where, hint="export it again")
