"""Normals in one portable file: exported from one box, imported on another."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_monitor.database import transaction
from edge_monitor.errors import NormalsError, StorageError
from edge_monitor.memory.normal import NewNormal, bundle_mismatch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.memory.normals import NormalStore

# A NumPy .npz archive of plain arrays, read without pickle: `about` (JSON as uint8: recordings and their windows),
# `vectors` (n, dim) float32, `pictures` (all spectrograms joined, uint8) and `checksum` (SHA-256 of the other three).
_FORMAT = "edge-monitor normals 1"
_PARTS = ("about", "vectors", "pictures")
_MEMBERS = {f"{name}.npy" for name in (*_PARTS, "checksum")}


@dataclass(frozen=True, slots=True)
class Moved:
    """What an export wrote or an import added."""

    recordings: int
    normals: int
    already: int  # recordings that were known (import)


def export_normals(store: NormalStore, path: Path) -> Moved:
    """Write all normals in use to `path`, with their recordings, places, levels, pictures and descriptors.

    Raises NormalsError when there are none, StorageError when the file cannot be written.
    """
    normals = store.normals()
    if not normals:
        raise NormalsError("no normals to export", where=store.machine, hint="enrol first")
    pictures = [store.spectrogram(normal.id) for normal in normals]
    windows = [
        {"block": n.block, "start_s": n.start_s, "level_dbfs": n.level_dbfs, "mode": n.mode,
         "descriptors": store.descriptors(n.id), "recording": n.recording_id,
         "picture_bytes": None if picture is None else len(picture)}
        for n, picture in zip(normals, pictures, strict=True)
    ]  # fmt: skip
    used = {normal.recording_id for normal in normals}
    recordings = [
        {"id": r.id, "name": r.name, "sha256": r.sha256, "seconds": r.seconds, "added_ms": r.added_ms}
        for r in store.recordings()
        if r.id in used
    ]
    about = {"format": _FORMAT, "machine": store.machine, "bundle_hash": store.bundle_hash(),
             "recordings": recordings, "windows": windows}  # fmt: skip
    parts = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "vectors": store.vectors([normal.id for normal in normals]).astype("<f4"),
        "pictures": np.frombuffer(b"".join(picture or b"" for picture in pictures), dtype=np.uint8),
    }
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("wb") as file:
            np.savez(file, allow_pickle=False, checksum=_checksum(parts), **parts)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StorageError(f"cannot write the export: {error.strerror}", where=str(path)) from error
    return Moved(len(recordings), len(normals), already=0)


def import_normals(store: NormalStore, path: Path, *, bundle_hash: str | None = None) -> Moved:
    """Add every recording of an exported file that is not known yet, all in one transaction.

    Raises NormalsError when the file is not a whole export, BundleMismatchError when it comes from another bundle than
    `bundle_hash` (the node's) or than the normals in use.
    """
    parts = _open(path)
    try:
        about = json.loads(parts["about"].tobytes())
        normals = _windows(about["windows"], parts["vectors"], parts["pictures"].tobytes())
        by_recording: dict[int, list[NewNormal]] = {}
        for window, normal in zip(about["windows"], normals, strict=True):
            by_recording.setdefault(window["recording"], []).append(normal)
        recordings, origin = about["recordings"], str(about["bundle_hash"])
        if bundle_hash not in (None, origin):
            raise bundle_mismatch(str(path), (origin, str(bundle_hash)))
        with transaction(store.connection):
            added = [
                store.insert(entry["name"], entry["sha256"], entry["seconds"], by_recording[entry["id"]],
                             bundle_hash=origin, thin=False, added_ms=entry["added_ms"])
                for entry in recordings
            ]  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    return Moved(len(recordings), sum(a.count for a in added), already=sum(a.already for a in added))


def _open(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the file's parts, their checksum verified before anything is made of them."""
    try:
        with zipfile.ZipFile(path) as archive:  # stored, not compressed: nothing can be larger than the file
            entries = archive.infolist()
            if {e.filename for e in entries} != _MEMBERS or any(e.compress_type != zipfile.ZIP_STORED for e in entries):
                raise _unusable(path, "other parts than an export has")
        with np.load(path, allow_pickle=False) as archive:
            parts = {name: archive[name] for name in _PARTS}
            checksum = archive["checksum"]
    except OSError as error:
        raise NormalsError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _unusable(path, str(error)) from error
    if checksum.tobytes() != _checksum(parts).tobytes():
        raise _unusable(path, "wrong checksum")
    return parts


def _windows(entries: list[dict[str, object]], vectors: NDArray[np.generic], pictures: bytes) -> list[NewNormal]:
    normals, offset = [], 0
    for entry, vector in zip(entries, vectors, strict=True):
        size = entry["picture_bytes"]
        picture = None if size is None else pictures[offset : offset + int(str(size))]
        offset += 0 if picture is None else len(picture)
        normals.append(
            NewNormal(
                block=int(str(entry["block"])),
                start_s=float(str(entry["start_s"])),
                level_dbfs=float(str(entry["level_dbfs"])),
                vector=np.asarray(vector, dtype=np.float32),
                spectrogram=picture,
                descriptors=_text(entry["descriptors"]),
                mode=_text(entry["mode"]),
            )
        )
    return normals


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _checksum(parts: dict[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
    digest = hashlib.sha256()
    for name in _PARTS:
        digest.update(f"{name} {parts[name].dtype.str} {parts[name].shape}|".encode())
        digest.update(np.ascontiguousarray(parts[name]).tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _unusable(path: Path, why: str) -> NormalsError:
    return NormalsError(f"not a whole export of normals: {why}", where=str(path), hint="export it again")
