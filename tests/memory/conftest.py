"""A real database, and normals made from a seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor import database
from edge_monitor.memory.calibration import CalibrationSettings
from edge_monitor.memory.generations import build_generation
from edge_monitor.memory.normal import NewNormal
from edge_monitor.memory.normals import NormalStore
from edge_monitor.memory.scaler import MetricSpec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_monitor.memory.normal import Added

    Enrol = Callable[[NormalStore, int], list[Added]]
    Build = Callable[[NormalStore], int]

BUNDLE = "a" * 64


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Open a fresh database."""
    opened = database.connect(tmp_path / "edge-monitor.db")
    yield opened
    opened.close()


@pytest.fixture
def store(connection: sqlite3.Connection) -> NormalStore:
    """Return the empty store of pump-3."""
    return NormalStore(connection, "pump-3")


@pytest.fixture
def enrol() -> Enrol:
    """Return a function that adds that many recordings of 30 s: 3 windows of 8 dimensions each, seeded by number."""

    def add(store: NormalStore, recordings: int) -> list[Added]:
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
                    descriptors='{"rms": 1}',
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

    def freeze(store: NormalStore) -> int:
        return build_generation(
            store.connection,
            store.machine,
            bundle_hash=BUNDLE,
            spec=MetricSpec("standardized-euclidean", "none", 0.5),
            settings=CalibrationSettings(window_s=10.0),
            gate_dbfs=-60.0,
            reason="enroll",
        )

    return freeze
