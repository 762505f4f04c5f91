"""Any bytes as a stored picture of a window, or as an exported file of normals: whole, or one clear refusal."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_monitor.errors import EdgeMonitorError, NormalsError, StorageError
from edge_monitor.explain.spectrogram import MAX_STEPS, compact, expand
from edge_monitor.memory.changes import add
from edge_monitor.memory.normal import NewNormal, NewRecording
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.portable import export_normals, import_normals, read_recordings
from edge_monitor.store.store import Store
from tests.fuzz.search import thoroughly
from tests.memory.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASH = "ab" * 32
_HEADER = struct.Struct("<4sBBHIfff")
PICTURE = compact(np.sin(np.arange(16_000, dtype=np.float32)), 16_000)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@thoroughly
@given(
    st.binary(max_size=200),
    st.integers(0, 255),
    st.integers(0, 65_535),
    st.tuples(st.floats(width=32), st.floats(width=32), st.floats(width=32)),
)
@example(zlib.compress(bytes(1 << 20)), 64, 128, (10.0, 20.0, 8000.0))
@example(zlib.compress(bytes(64 * 128)), 64, 128, (10.0, 20.0, float("inf")))
@example(zlib.compress(bytes(64 * 128)), 64, 128, (float("nan"), 20.0, 8000.0))
def test_any_stored_picture_is_whole_or_refused(
    body: bytes, bands: int, steps: int, numbers: tuple[float, float, float]
) -> None:
    """A damaged picture is a StorageError; a whole one has finite levels, frequencies and length."""
    header = _HEADER.pack(b"EMSG", 1, bands, steps, 16_000, *numbers)
    for stored in (body, header + body, header + zlib.compress(body), PICTURE[: len(body)] + body):
        try:
            picture = expand(stored)
        except StorageError:
            continue
        assert np.isfinite(picture.db).all()
        assert np.isfinite(picture.freqs_hz).all()
        assert np.isfinite([picture.low_hz, picture.high_hz, picture.seconds]).all()
        assert picture.db.shape[1] <= max(MAX_STEPS, steps)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Memory]:
    """Yield the normals of a machine that has none."""
    with Store(tmp_path / "fuzz.db") as opened:
        memory = Memory(opened, "pump")
        yield memory
        memory.connection.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a real export of three normals."""
    folder = tmp_path_factory.mktemp("exported")
    normals = [
        NewNormal(
            block=0,
            start_s=10.0 * number,
            level_dbfs=-30.0,
            vector=np.full(8, number, dtype=np.float32),
            spectrogram=PICTURE,
        )
        for number in range(3)
    ]
    with Store(folder / "source.db") as opened:
        add(opened, "pump", NewRecording("clip.wav", "cd" * 32, 30.0, normals), bundle_hash=HASH, thin=False)
        with opened.reading() as connection:
            export_normals(Normals(connection, "pump"), folder / "normals")
    return (folder / "normals").read_bytes()


def one_line(error: EdgeMonitorError) -> None:
    """Check that a refusal is one readable line."""
    assert "\n" not in str(error).strip()
    assert len(str(error)) < 2_000


def take_in(store: Memory, path: Path) -> None:
    """Import a file that may be anything; whatever happens, the database stays whole and as it was, or has it all."""
    before = len(store.normals())
    try:
        moved = import_normals(store.store, "pump", read_recordings(path, where="x"), where="x")
    except EdgeMonitorError as error:
        one_line(error)
        assert len(store.normals()) == before
    else:
        assert len(store.normals()) == before + moved.normals
        assert {len(store.vectors([normal.id])[0]) for normal in store.normals()} <= {8}
    assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@thoroughly
@given(st.data())
def test_a_damaged_export_is_refused(store: Memory, exported: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """An export with bytes changed, lost or added is refused, and nothing of it is taken in."""
    at = data.draw(st.integers(0, len(exported) - 1))
    piece = data.draw(st.binary(max_size=40))
    lost = data.draw(st.integers(0, 40))
    path = tmp_path / "normals"
    path.write_bytes(exported[:at] + piece + exported[at + lost :])
    take_in(store, path)


def write_export(path: Path, about: object, vectors: Any, pictures: bytes) -> None:  # noqa: ANN401 - any array
    """Write a file whose checksum is right, as somebody could who wants to harm: it is no secret."""
    parts = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "vectors": vectors,
        "pictures": np.frombuffer(pictures, dtype=np.uint8),
    }
    digest = hashlib.sha256()
    for name, part in parts.items():
        digest.update(f"{name} {part.dtype.str} {part.shape}|".encode() + part.tobytes())
    with path.open("wb") as file:
        np.savez(file, checksum=np.frombuffer(digest.digest(), dtype=np.uint8), **parts)


def hostile(change: dict[str, object]) -> dict[str, object]:
    """Return what an export says of itself, with `recording.KEY`, `window.KEY` or KEY changed."""
    recording = {"id": 1, "name": "clip.wav", "sha256": "ef" * 32, "seconds": 10.0, "added_ms": 1}
    window = {
        "block": 0,
        "start_s": 0.0,
        "level_dbfs": -30.0,
        "mode": None,
        "descriptors": None,
        "recording": 1,
        "picture_bytes": None,
    }
    about: dict[str, object] = {
        "format": "edge-monitor normals 1",
        "machine": "pump",
        "bundle_hash": HASH,
        "recordings": [recording],
        "windows": [window],
    }
    tables: dict[str, dict[str, Any]] = {"recording": recording, "window": window, "": about}
    for key, value in change.items():
        table, _, name = key.rpartition(".")
        tables[table][name] = value
    return about


KEYS = [
    *(f"recording.{key}" for key in ("id", "name", "sha256", "seconds", "added_ms")),
    *(
        f"window.{key}"
        for key in ("block", "start_s", "level_dbfs", "mode", "descriptors", "recording", "picture_bytes")
    ),
    "bundle_hash",
    "recordings",
    "windows",
]


@thoroughly
@given(change=st.dictionaries(st.sampled_from(KEYS), json_values, min_size=1, max_size=2))
@example(change={"recording.added_ms": 2**70})
@example(change={"recording.name": {"a": 1}})
@example(change={"window.block": 2**70})
@example(change={"window.start_s": "nan"})
@example(change={"recording.seconds": float("inf")})
def test_a_hostile_export_with_the_right_checksum_is_taken_whole_or_refused(
    store: Memory, tmp_path: Path, change: dict[str, object]
) -> None:
    """Whatever an export says of itself, it is one clear refusal or normals that can be read again."""
    path = tmp_path / "normals"
    write_export(path, hostile(change), np.ones((1, 8), dtype=np.float32), b"")
    take_in(store, path)


@pytest.mark.parametrize(
    "vectors",
    [
        np.full((1, 8), np.nan, dtype=np.float32),
        np.full((1, 8), np.inf, dtype=np.float32),
        np.full((1, 8), 1e300),
        np.zeros((1, 0), dtype=np.float32),
        np.zeros((1, 2, 4), dtype=np.float32),
        np.zeros((), dtype=np.float32),
        np.array([["text"] * 8]),
        np.zeros((1, 8), dtype=np.complex64),
    ],
    ids=["nan", "inf", "overflow", "empty", "three-dimensional", "scalar", "text", "complex"],
)
def test_vectors_that_are_none_are_refused(store: Memory, tmp_path: Path, vectors: Any) -> None:  # noqa: ANN401
    """A vector that is not finite, not flat or not of numbers would poison every score after it."""
    path = tmp_path / "normals"
    write_export(path, hostile({}), vectors, b"")
    with pytest.raises(NormalsError):
        import_normals(store.store, "pump", read_recordings(path, where="x"), where="x")
    assert store.normals() == ()
