"""Normals on the move: everything arrives, once, or nothing does."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import BundleMismatchError, NormalsError, StorageError
from edge_monitor.memory.normal import Added, NewNormal
from edge_monitor.memory.normals import Normals
from edge_monitor.memory.portable import Moved, export_normals, import_normals, read_recordings
from edge_monitor.store.store import Store
from tests.memory.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Enrol = Callable[[Memory, int], list[Added]]

BUNDLE = "a" * 64


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Memory]:
    """Return an empty store on another box."""
    with Store(tmp_path / "other.db") as store:
        memory = Memory(store, "pump-3")
        yield memory
        memory.connection.close()


def exported(memory: Memory, path: Path) -> Moved:
    """Export a machine's normals."""
    with memory.store.reading() as connection:
        return export_normals(Normals(connection, memory.machine), path)


def imported(memory: Memory, machine: str, path: Path) -> Moved:
    """Import a file for a machine."""
    return import_normals(memory.store, machine, read_recordings(path, where=str(path)), where=str(path))


def everything(store: Memory) -> list[tuple[object, ...]]:
    """Return all that is known of the normals in use."""
    recordings = {r.id: (r.name, r.sha256, r.seconds, r.added_ms) for r in store.recordings()}
    return [
        (
            recordings[n.recording_id],
            n.block,
            n.start_s,
            n.level_dbfs,
            n.mode,
            n.bundle_hash,
            store.vectors([n.id]).tobytes(),
            store.spectrogram(n.id),
            store.descriptors(n.id),
        )
        for n in store.normals()
    ]


def test_round_trip_is_exact(store: Memory, other: Memory, enrol: Enrol, tmp_path: Path) -> None:
    """Recordings, blocks, levels, vectors, pictures and descriptors arrive to the last bit; removed ones stay home."""
    enrol(store, 3)
    bare = NewNormal(2, 61.7, -41.3, np.full(8, 1e-20, dtype=np.float32), spectrogram=b"")
    store.add("live 2026-01-31T08:15:00Z", "f" * 64, 71.7, [bare], bundle_hash=BUNDLE)
    store.remove([2])
    assert exported(store, tmp_path / "pump.normals") == Moved(4, 9, already=0)
    assert imported(other, "pump-3", tmp_path / "pump.normals") == Moved(4, 9, already=0)
    assert everything(other) == everything(store)


def test_importing_twice_adds_nothing(store: Memory, other: Memory, enrol: Enrol, tmp_path: Path) -> None:
    """As enrolling does."""
    enrol(store, 3)
    exported(store, tmp_path / "x")
    imported(other, "pump-3", tmp_path / "x")
    assert imported(other, "pump-3", tmp_path / "x") == Moved(3, 0, already=3)
    assert imported(store, "pump-3", tmp_path / "x") == Moved(3, 0, already=3)


def test_another_bundles_export_is_refused_whole(store: Memory, other: Memory, enrol: Enrol, tmp_path: Path) -> None:
    """Nothing of it is written."""
    enrol(store, 3)
    exported(store, tmp_path / "x")
    other.add("b.wav", "b", 10.0, [NewNormal(0, 0.0, -30.0, np.ones(8, dtype=np.float32))], bundle_hash="b" * 64)
    with pytest.raises(BundleMismatchError, match="Going over to another bundle"):
        imported(other, "pump-3", tmp_path / "x")
    assert len(other.recordings()) == 1


def test_every_damaged_byte_is_noticed(store: Memory, other: Memory, enrol: Enrol, tmp_path: Path) -> None:
    """Cut anywhere or with a byte flipped, the file is refused in one line and nothing is written."""
    enrol(store, 2)
    exported(store, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    broken = tmp_path / "broken"
    about = imported(other, "reference", tmp_path / "x")
    refused = 0
    for position in range(0, len(whole), 97):
        for damaged in (whole[:position], whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]):
            broken.write_bytes(damaged)
            try:
                assert imported(other, "pump-3", broken) in {
                    about,
                    Moved(2, 0, already=2),
                }  # a byte nobody reads
            except NormalsError:
                refused += 1
    assert refused > 2 * (len(whole) // 97) * 0.8


@pytest.mark.parametrize("content", [b"", b"not an archive", pickle.dumps({"vectors": [1]})])
def test_other_files_are_refused(other: Memory, tmp_path: Path, content: bytes) -> None:
    """A renamed text file or a pickle: one line, and nothing is executed."""
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NormalsError, match="not a whole export of normals"):
        imported(other, "pump-3", tmp_path / "x")


def test_pickled_arrays_are_refused(other: Memory, tmp_path: Path) -> None:
    """An archive with an object array inside never reaches the unpickler."""
    with (tmp_path / "x").open("wb") as file:
        np.savez(file, about=np.array([{"a": 1}], dtype=object), vectors=[1], pictures=[1], checksum=[1])
    with pytest.raises(NormalsError, match="Object arrays cannot be loaded"):
        imported(other, "pump-3", tmp_path / "x")


def test_compressed_archive_is_refused(other: Memory, tmp_path: Path) -> None:
    """A few kilobytes must not unpack to gigabytes."""
    with (tmp_path / "x").open("wb") as file:
        np.savez_compressed(file, about=np.zeros(10**6), vectors=[1], pictures=[1], checksum=[1])
    with pytest.raises(NormalsError, match="other parts than an export has"):
        imported(other, "pump-3", tmp_path / "x")


def test_nothing_to_export_and_nowhere_to_write(store: Memory, enrol: Enrol, tmp_path: Path) -> None:
    """Each is one line."""
    with pytest.raises(NormalsError, match="no normals to export"):
        exported(store, tmp_path / "x")
    enrol(store, 1)
    with pytest.raises(StorageError, match="cannot write the export: No such file or directory"):
        exported(store, tmp_path / "nowhere" / "x")
    with pytest.raises(NormalsError, match="cannot be read: No such file or directory"):
        imported(store, "pump-3", tmp_path / "missing")
