"""A real database, and normals made from a seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.generations import build_generation
from edge_monitor.memory.normal import Descriptors, NewNormal
from edge_monitor.memory.scaler import MetricSpec
from edge_monitor.store.store import Store
from tests.memory.memory import Memory

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_monitor.memory.normal import Added

    Enrol = Callable[[Memory, int], list[Added]]
    Build = Callable[[Memory], int]

BUNDLE = "a" * 64


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Store]:
    """Open a fresh database."""
    with Store(tmp_path / "edge-monitor.db") as store:
        yield store


@pytest.fixture
def store(database: Store) -> Iterator[Memory]:
    """Return the empty memory of pump-3."""
    memory = Memory(database, "pump-3")
    yield memory
    memory.connection.close()


@pytest.fixture
def connection(store: Memory) -> sqlite3.Connection:
    """Return a reading connection."""
    return store.connection


@pytest.fixture
def enrol() -> Enrol:
    """Return a function that adds that many recordings of 30 s: 3 windows of 8 dimensions each, seeded by number."""

    def add(store: Memory, recordings: int) -> list[Added]:
        added = []
        for number in range(recordings):
            draw = np.random.default_rng(number)
            windows = [
                NewNormal(
                    block=0,
                    start_s=10.0 * i,
                    level_dbfs=-30.0 - i,
                    vector=draw.standard_normal(8).astype(np.float32),
                    spectrogram=bytes([number, i]),
                    descriptors=Descriptors(-40.0, '{"rms": 1}'),
                    mode="fast" if i else None,
                )
                for i in range(3)
            ]
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            added.append(store.add(f"{number:02d}.wav", sha256, 30.0, windows, bundle_hash=BUNDLE))
        return added

    return add


@pytest.fixture
def build() -> Build:
    """Return a function that freezes a store's normals as its next generation."""

    def freeze(store: Memory) -> int:
        return build_generation(
            store.store,
            store.machine,
            bundle_hash=BUNDLE,
            spec=MetricSpec("standardized-euclidean", "none", 0.5),
            settings=CalibrationSettings(window_s=10.0),
            gate_dbfs=-60.0,
            reason="enroll",
        )

    return freeze
