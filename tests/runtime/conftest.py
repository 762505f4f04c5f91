"""A database of one's own, for parts that are built alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_monitor.store import database
from edge_monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a fresh database."""
    with Store(tmp_path / database.FILE_NAME) as fresh:
        yield fresh.open()
