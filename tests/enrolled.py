"""A pump that has been enrolled, once for all tests."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.product import Product
from tests.sharing import made_once
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDLE = '{ kind = "simulator", machine = "pump", take = 1, pace = "realtime" }'


@pytest.fixture(scope="session")
def healthy_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of ten minutes of healthy pump in 10 s clips."""
    return made_once(tmp_path_factory, "healthy", lambda folder: write_clips(folder, "healthy", pump(600)))


@pytest.fixture(scope="session")
def enrolled_state(tmp_path_factory: pytest.TempPathFactory, healthy_clips: Path) -> Path:
    """Return the state directory of a node that knows the healthy pump; copy it, never use it."""

    def enroll(folder: Path) -> None:
        done = Product(folder, IDLE).command("enroll", str(healthy_clips))
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "enrolled", enroll) / "state"


@pytest.fixture
def enrolled(tmp_path: Path, enrolled_state: Path) -> Callable[..., Product]:
    """Make a product of one's own that knows the healthy pump; takes Product's fields but the folder."""

    def make(source: str = IDLE, **fields: object) -> Product:
        shutil.copytree(enrolled_state, tmp_path / "state")
        return Product(tmp_path, source, **fields)  # type: ignore[arg-type]  # the caller names Product's own fields

    return make
