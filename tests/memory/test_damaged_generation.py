"""Numbers that cannot be what was learnt are refused where they are loaded: they would make a machine unheard."""

from __future__ import annotations

import json
import math
import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_monitor.errors import DamagedGenerationError
from edge_monitor.memory.scorer import load_scorer
from edge_monitor.records import Embedding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_monitor.memory.normal import Added
    from tests.memory.memory import Memory

    Enrol = Callable[[Memory, int], list[Added]]
    Build = Callable[[Memory], int]

BUNDLE = "a" * 64
DIM = 8
FAR = np.full(DIM, 1e9, dtype=np.float32)  # what no machine that was learnt sounds like


@pytest.fixture
def enrolled(store: Memory, enrol: Enrol, build: Build) -> Memory:
    """Return a memory with one generation."""
    enrol(store, 4)
    build(store)
    return store


def damage(store: Memory, statement: str, *values: object) -> None:
    """Overwrite something as a failing disk, or a person, may."""
    store.store.commit(lambda connection: connection.execute(statement, values))


@pytest.mark.parametrize(
    ("statement", "value", "told"),
    [
        ("UPDATE generations SET threshold = ?", 1e300, "its threshold is 1e+300"),
        ("UPDATE generations SET threshold = ?", math.inf, "its threshold is inf"),
        ("UPDATE generations SET scale = ?", np.full(DIM, np.inf).tobytes(), "its scale has values"),
        ("UPDATE generations SET scale = ?", np.zeros(DIM).tobytes(), "its scale has values"),
        ("UPDATE generations SET scale = ?", np.full(DIM, 1e9).tobytes(), "do not score as they did"),
        ("UPDATE generations SET mean = ?", np.full(DIM, np.nan).tobytes(), "its mean has values"),
        ("UPDATE generations SET gate_dbfs = ?", 1e300, "its gate is 1e+300 dBFS"),
        ("UPDATE generations SET standing_dbfs = ?", -1e300, "its standstill is -1e+300 dBFS"),
        (
            "UPDATE normals SET vector = ? WHERE id = 3",
            np.full(DIM, np.nan, dtype="<f4").tobytes(),
            "normal 3 has values no embedding has (`edge-monitor normals remove '00.wav'` takes it out)",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    enrolled: Memory, tmp_path: Path, statement: str, value: object, told: str
) -> None:
    """With what is wrong, of which machine and generation, and the way back."""
    damage(enrolled, statement, value)
    with pytest.raises(DamagedGenerationError, match="pump-3: generation 1 is damaged: ") as caught:
        load_scorer(enrolled.connection, "pump-3", tmp_path, build=False)
    assert told in str(caught.value)
    assert caught.value.hint


NUMBERS = st.one_of(st.floats(), st.sampled_from([math.inf, -math.inf, math.nan, 0.0, -0.0, 1e300, -1.0, 5e-324]))
STATEMENTS = {
    "threshold": "UPDATE generations SET threshold = ?",
    "scale": "UPDATE generations SET scale = ?",
    "mean": "UPDATE generations SET mean = ?",
    "calibration": "UPDATE generations SET calibration = ?",
    "vector": "UPDATE normals SET vector = ?",
}


def damaged(store: Memory, what: str, number: float) -> None:
    """Write a number where it is not expected."""
    value: object = number
    if what == "vector":
        with np.errstate(over="ignore"):
            value = np.full(DIM, number).astype("<f4").tobytes()
    elif what in {"scale", "mean"}:
        value = np.full(DIM, number).tobytes()
    elif what != "threshold":
        whole = store.connection.execute("SELECT calibration FROM generations").fetchone()[0]
        value = json.dumps(json.loads(whole) | {what: number})
    damage(store, STATEMENTS.get(what, STATEMENTS["calibration"]), value)


@given(what=st.sampled_from(["threshold", "scale", "mean", "vector", "median_score", "max_score"]), number=NUMBERS)
@example(what="threshold", number=1e300)
@example(what="max_score", number=1e300)
@example(what="vector", number=3e38)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
def test_whatever_number_is_there_a_machine_is_heard_or_refused(
    enrolled: Memory, tmp_path: Path, what: str, number: float
) -> None:
    """Nothing is loaded that calls a sound normal which is far from all that was learnt."""
    row = enrolled.connection.execute("SELECT threshold, scale, mean, calibration FROM generations").fetchone()
    vectors = enrolled.connection.execute("SELECT id, vector FROM normals").fetchall()
    try:
        damaged(enrolled, what, number)
        scorer = load_scorer(enrolled.connection, "pump-3", tmp_path, build=False)
        assert scorer is not None
        assert scorer.score(Embedding(FAR, BUNDLE)).value > scorer.generation.threshold
    except (DamagedGenerationError, sqlite3.IntegrityError):  # the second: the database refuses to take it
        pass
    finally:
        damage(enrolled, "UPDATE generations SET threshold = ?, scale = ?, mean = ?, calibration = ?", *row)
        for number_of, vector in vectors:
            damage(enrolled, "UPDATE normals SET vector = ? WHERE id = ?", vector, number_of)
