"""Generations: frozen, numbered, swapped as one; scores name theirs."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import BundleMismatchError, NormalsError
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.distance import scores
from edge_monitor.memory.generations import (
    activate,
    active_generation,
    build_generation,
    list_generations,
    set_standing,
)
from edge_monitor.memory.normal import NewNormal
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.records import Embedding
from edge_monitor.store.store import Store
from tests.memory.memory import Memory, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_monitor.memory.normal import Added

    Enrol = Callable[[Memory, int], list[Added]]
    Build = Callable[[Memory], int]

BUNDLE = "a" * 64


def test_unenrolled_machine_has_no_scorer(connection: sqlite3.Connection, tmp_path: Path) -> None:
    """Nothing learnt is a state, not an error."""
    assert load_scorer(connection, "pump-3", tmp_path) is None


def test_score_is_eq_1_with_its_neighbours(store: Memory, tmp_path: Path) -> None:
    """From (0, 0) the four nearest are 0, 5, 10 and 15 away: the score is 7.5, and each neighbour says where it was."""
    line = [(0, 0), (3, 4), (6, 8), (9, 12), (60, 80), (66, 88)]
    for number, (x, y) in enumerate(line):
        normal = NewNormal(0, 2.5, -30.0, np.array([x, y], dtype=np.float32))
        store.add(f"{number}.wav", str(number), 10.0, [normal], bundle_hash=BUNDLE)
    build_generation(
        store.store,
        "pump-3",
        bundle_hash=BUNDLE,
        spec=MetricSpec(),
        settings=CalibrationSettings(10.0),
        gate_dbfs=None,
        reason="enroll",
    )
    scorer = load_scorer(store.connection, "pump-3", tmp_path)
    assert scorer is not None
    scored = scorer.score(Embedding(np.zeros(2, dtype=np.float32), BUNDLE))
    assert scored.value == pytest.approx(7.5)
    assert [(n.normal_id, n.recording, n.recording_start_s) for n in scored.neighbours] == [
        (1, "0.wav", 2.5),
        (2, "1.wav", 2.5),
        (3, "2.wav", 2.5),
        (4, "3.wav", 2.5),
    ]
    assert [n.distance for n in scored.neighbours] == pytest.approx([0, 5, 10, 15])


def test_generation_is_read_back_as_it_was_frozen(store: Memory, enrol: Enrol, build: Build) -> None:
    """Members, statistics, threshold and gate: all that scores depend on."""
    enrol(store, 4)
    assert build(store) == 1
    found = active_generation(store.connection, "pump-3")
    assert found is not None
    raw = store.vectors(store.ids()).astype(np.float64)
    assert (found.number, found.members, found.k, found.gate_dbfs) == (1, tuple(range(1, 13)), 4, -60.0)
    assert (found.metric, found.bundle_hash, found.reason, found.active) == (
        "standardized-euclidean",
        BUNDLE,
        "enroll",
        True,
    )
    assert found.scaler.scale is not None
    assert found.scaler.scale.tolist() == (raw.std(axis=0) + 0.5).tolist()
    assert found.threshold == found.calibration.threshold > 0


def test_next_generation_is_active_and_one_can_go_back(
    store: Memory, enrol: Enrol, build: Build, tmp_path: Path
) -> None:
    """Going back gives the old scores to the last bit, though normals were removed since."""
    enrol(store, 4)
    build(store)
    query = Embedding(np.full(8, 0.3, dtype=np.float32), BUNDLE)
    before = load_scorer(store.connection, "pump-3", tmp_path)
    assert before is not None
    store.remove_recording("00.wav")
    assert build(store) == 2
    now = load_scorer(store.connection, "pump-3", tmp_path)
    assert now is not None
    assert (now.generation.number, len(now.generation.members)) == (2, 9)
    activate(store.store, "pump-3", 1)
    again = load_scorer(store.connection, "pump-3", tmp_path)
    assert again is not None
    assert again.score(query) == before.score(query)
    assert [(g.number, g.active) for g in list_generations(store.connection, "pump-3")] == [(1, True), (2, False)]


def test_generation_that_does_not_exist_changes_nothing(store: Memory, enrol: Enrol, build: Build) -> None:
    """A wrong number leaves the active one active."""
    enrol(store, 4)
    build(store)
    with pytest.raises(NormalsError, match="no generation 9"):
        activate(store.store, "pump-3", 9)
    found = active_generation(store.connection, "pump-3")
    assert found is not None
    assert found.number == 1


def test_swap_is_atomic_when_the_write_fails(store: Memory, enrol: Enrol, build: Build) -> None:
    """A failure among the members leaves the old generation active and no trace of the new one."""
    enrol(store, 4)
    build(store)
    run(
        store.store,
        "CREATE TRIGGER fail BEFORE INSERT ON generation_members WHEN NEW.normal_id = 7"
        " BEGIN SELECT RAISE(ABORT, 'disk'); END",
    )
    with pytest.raises(sqlite3.IntegrityError, match="disk"):
        build(store)
    assert [(g.number, g.active) for g in list_generations(store.connection, "pump-3")] == [(1, True)]
    assert store.connection.execute("SELECT count(*) FROM generations").fetchone()[0] == 1


def test_readers_see_one_active_generation_at_any_moment(
    store: Memory, enrol: Enrol, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connection sees the old generation, whole, until the last commit, then the new one."""
    enrol(store, 40)
    build(store)
    seen: list[tuple[int, int]] = []
    commit = Store.submit

    def submit(*arguments: object, **options: object) -> object:
        found = active_generation(store.connection, "pump-3")
        assert found is not None
        seen.append((found.number, len(found.members)))
        return commit(*arguments, **options)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(Store, "submit", submit)
    build(store)
    found = active_generation(store.connection, "pump-3")
    assert found is not None
    assert set(seen) == {(1, 120)}
    assert len(seen) == 2
    assert (found.number, len(found.members)) == (2, 120)


def test_too_few_normals_are_not_enrolled(store: Memory, enrol: Enrol, build: Build) -> None:
    """Three windows are not a memory."""
    enrol(store, 1)
    with pytest.raises(NormalsError, match="pump-3: not enrolled: 3 normals, needs at least 5"):
        build(store)
    assert list_generations(store.connection, "pump-3") == ()


def test_generation_of_another_bundle_is_refused(store: Memory, enrol: Enrol) -> None:
    """After a change of model the old vectors are no memory for the new one."""
    enrol(store, 4)
    with pytest.raises(BundleMismatchError, match="vectors of another bundle: aaaaaaaaaaaa and bbbbbbbbbbbb"):
        build_generation(
            store.store,
            "pump-3",
            bundle_hash="b" * 64,
            spec=MetricSpec(),
            settings=CalibrationSettings(10.0),
            gate_dbfs=None,
            reason="enroll",
        )


def test_embedding_of_another_bundle_is_refused(store: Memory, enrol: Enrol, build: Build, tmp_path: Path) -> None:
    """A score between two models' vectors would be a number without meaning."""
    enrol(store, 4)
    build(store)
    scorer = load_scorer(store.connection, "pump-3", tmp_path)
    assert scorer is not None
    with pytest.raises(BundleMismatchError):
        scorer.score(Embedding(np.zeros(8, dtype=np.float32), "b" * 64))
    with pytest.raises(NormalsError, match="not a finite vector of 8"):
        scorer.score(Embedding(np.zeros(9, dtype=np.float32), BUNDLE))
    with pytest.raises(NormalsError, match="not a finite vector of 8"):
        scorer.score(Embedding(np.full(8, np.nan, dtype=np.float32), BUNDLE))


def test_stored_windows_score_as_exact_search_says(store: Memory, enrol: Enrol, build: Build, tmp_path: Path) -> None:
    """The scorer's whole path agrees with eq. 1 computed plainly."""
    enrol(store, 20)
    build(store)
    scorer = load_scorer(store.connection, "pump-3", tmp_path)
    assert scorer is not None
    raw = store.vectors(store.ids())
    query = np.random.default_rng(99).standard_normal(8).astype(np.float32)
    scale = raw.astype(np.float64).std(axis=0) + 0.5
    assert scorer.score(Embedding(query, BUNDLE)).value == pytest.approx(
        scores((query / scale)[None, :], raw / scale)[0], rel=1e-5
    )


def test_a_standstill_goes_on_while_the_quietest_normal_is_the_same(store: Memory, enrol: Enrol, build: Build) -> None:
    """The next generation of the same normals knows it; of other normals or another gate it is learnt anew."""

    def standing() -> float | None:
        found = active_generation(store.connection, "pump-3")
        assert found is not None
        return found.standing_dbfs

    enrol(store, 4)
    build(store)
    assert standing() is None
    store.store.commit(lambda connection: set_standing(connection, "pump-3", 1, -72.5))
    build(store)
    assert standing() == -72.5
    store.store.commit(lambda connection: connection.execute("UPDATE generations SET gate_dbfs = -58.9"))
    build(store)
    assert standing() is None
    store.store.commit(lambda connection: set_standing(connection, "pump-3", 3, -72.5))
    learnt = store.ids()
    enrol(store, 8)
    store.remove(learnt)
    build(store)
    assert standing() is None
