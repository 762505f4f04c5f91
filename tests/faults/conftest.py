"""A plant to break: see tests/faults/oracle.py."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.faults.ear import Ear, listening, make_state
from tests.faults.oracle import TURN_S, Plant
from tests.sharing import made_once
from tests.sounds import pump
from tests.store.conftest import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["stored"]


@pytest.fixture(scope="session")
def turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a WAV file of one turn: the healthy pump, then the rattling one."""

    def record(folder: Path) -> None:
        half_s = TURN_S / 2
        sound = np.concatenate([pump(half_s, take=1), pump(half_s, take=2, fault="rattle", fault_db=12.0)])
        soundfile.write(folder / "turns.wav", sound, 16_000, subtype="PCM_16")

    return made_once(tmp_path_factory, "turns", record) / "turns.wav"


@pytest.fixture
def plant(tmp_path: Path, enrolled_state: Path, turns: Path) -> Iterator[Callable[..., Plant]]:
    """Make a running plant; takes Plant's fields but the first three."""
    with ExitStack() as stack:
        yield lambda **fields: stack.enter_context(Plant(tmp_path, enrolled_state, turns, **fields))


@pytest.fixture(scope="session")
def short_windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `bundle` and `state`, see tests/faults/ear.py."""
    return made_once(tmp_path_factory, "short-windows", make_state)


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory, short_windows: Path) -> Iterator[Ear]:
    """Provide a node that knows its pump and hears it."""
    with listening(tmp_path_factory.mktemp("drill"), short_windows) as ear:
        ear.begin()
        yield ear
