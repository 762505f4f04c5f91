"""The index: right to 1 %, the same every time, and on disk a cache that is never trusted blindly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.memory.cache import IndexFile
from edge_monitor.memory.distance import scores
from edge_monitor.memory.index import ExactIndex, HnswIndex
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_monitor.memory.normal import Added
    from tests.memory.memory import Memory

    Enrol = Callable[[Memory, int], list[Added]]
    Build = Callable[[Memory], int]

BUNDLE = "a" * 64
QUERY = Embedding(np.full(8, 0.3, dtype=np.float32), BUNDLE)


def vectors(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Return isotropic noise: the hardest memory to search."""
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


@pytest.mark.parametrize("count", [5, 6, 40, 3000])
def test_scores_are_within_one_percent_of_exact(count: int) -> None:
    """On queries that were never stored, near and far."""
    stored = vectors(count, 64)
    index = HnswIndex.build(stored, 4)
    assert index is not None
    for far in (1, 3):
        queries = far * vectors(100, 64, seed=1)
        found = np.array([index.query(q, 4).distance.mean() for q in queries])
        assert found == pytest.approx(scores(queries, stored), rel=0.01)


def test_copies_do_not_break_the_graph() -> None:
    """A thousand equal vectors beside forty others: still within 1 %."""
    stored = np.concatenate([np.zeros((1000, 16), dtype=np.float32), 5 + vectors(40, 16)])
    index = HnswIndex.build(stored, 4)
    assert index is not None
    assert index.query(np.full(16, 5, dtype=np.float32), 4).distance.mean() == pytest.approx(
        scores(np.full((1, 16), 5.0), stored)[0], rel=0.01
    )


def test_same_vectors_give_the_same_file(tmp_path: Path) -> None:
    """One thread and a fixed seed: an index is reproducible."""
    stored = vectors(500, 16)
    for name in ("a", "b"):
        index = HnswIndex.build(stored, 4)
        assert index is not None
        index.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_exact_index_orders_its_neighbours() -> None:
    """Nearest first, with their rows."""
    found = ExactIndex(np.array([[9], [1], [4], [0]], dtype=np.float32)).query(np.zeros(1, dtype=np.float32), 3)
    assert found.position.tolist() == [3, 1, 2]
    assert found.distance.tolist() == [0, 1, 4]


@pytest.fixture
def enrolled(store: Memory, enrol: Enrol, build: Build, tmp_path: Path) -> Memory:
    """Return a store whose generation 1 has its index on disk."""
    enrol(store, 20)
    build(store)
    assert source(store, tmp_path) == "built (missing)"
    return store


def source(store: Memory, state_dir: Path, *, build: bool = True) -> str:
    """Load the scorer, check that it scores right, and return where its index came from."""
    scorer = load_scorer(store.connection, store.machine, state_dir, build=build)
    assert scorer is not None
    scaler = scorer.generation.scaler
    exact = scores(scaler.apply(QUERY.vector)[None, :], scaler.apply(store.vectors(store.ids())))[0]
    assert scorer.score(QUERY).value == pytest.approx(exact, rel=0.01)
    return scorer.index_source


def test_index_is_read_from_its_file(enrolled: Memory, tmp_path: Path) -> None:
    """The second start does not build again."""
    assert source(enrolled, tmp_path) == "cache"


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda f: f.path.unlink(), "missing"),
        (lambda f: f.sidecar.unlink(), "missing"),
        (lambda f: f.path.write_bytes(f.path.read_bytes()[:-100]), "damaged: wrong checksum"),
        (lambda f: f.path.write_bytes(f.path.read_bytes().replace(b"\x00", b"\xff", 40)), "damaged: wrong checksum"),
        (lambda f: f.path.write_bytes(b""), "damaged: wrong checksum"),
        (lambda f: f.sidecar.write_text("{"), "damaged: Expecting"),
        (lambda f: f.sidecar.write_text("[]"), "damaged:"),
        (lambda f: f.sidecar.write_text('{"surprise": 1}'), "damaged:"),
        (lambda f: rewrite(f, key="0" * 64), "stale"),
        (lambda f: rewrite(f, format=2), "stale"),
    ],
)
def test_harmed_index_is_rebuilt(
    enrolled: Memory, tmp_path: Path, harm: Callable[[IndexFile], None], reason: str
) -> None:
    """Missing, cut, overwritten or another memory's: hnswlib never reads it, and the next start has a good one."""
    harm(IndexFile(tmp_path / "index", "pump-3", 1))
    assert source(enrolled, tmp_path).startswith(f"built ({reason}")
    assert source(enrolled, tmp_path) == "cache"


def rewrite(file: IndexFile, **fields: object) -> None:
    """Change fields of the sidecar."""
    file.sidecar.write_text(json.dumps({**json.loads(file.sidecar.read_text()), **fields}))


def test_file_of_another_generation_is_stale(enrolled: Memory, build: Build, tmp_path: Path) -> None:
    """An old index under the new number would score against normals that are gone."""
    old = IndexFile(tmp_path / "index", "pump-3", 1)
    kept = old.path.read_bytes(), old.sidecar.read_bytes()
    enrolled.remove_recording("00.wav")
    build(enrolled)
    new = IndexFile(tmp_path / "index", "pump-3", 2)
    new.path.write_bytes(kept[0])
    new.sidecar.write_bytes(kept[1])
    assert source(enrolled, tmp_path) == "built (stale)"
    assert not old.path.exists()
    assert not old.sidecar.exists()


def test_exact_search_answers_while_the_index_is_rebuilt(enrolled: Memory, tmp_path: Path) -> None:
    """Without waiting for a rebuild there is a scorer all the same."""
    IndexFile(tmp_path / "index", "pump-3", 1).path.unlink()
    assert source(enrolled, tmp_path, build=False) == "exact (index missing)"


def test_folder_that_cannot_be_written_does_not_stop_scoring(enrolled: Memory, tmp_path: Path) -> None:
    """The index is a cache: a full or read-only disk costs a rebuild at each start, no more."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index").write_text("a file where the folder should be")
    assert "not stored" in source(enrolled, tmp_path / "other")


def test_indexes_of_machines_with_like_names_are_kept_apart(enrolled: Memory, tmp_path: Path) -> None:
    """pump-3 of generation 1 is not machine pump of generation 3-1."""
    other = IndexFile(tmp_path / "index", "pump", 3)
    index = HnswIndex.build(vectors(10, 8), 4)
    assert index is not None
    other.save(index, vectors(10, 8))
    assert source(enrolled, tmp_path) == "cache"
