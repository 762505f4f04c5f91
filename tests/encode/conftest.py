"""Fixtures of the encode room's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.encode.foreign import ForeignBundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def foreign(tmp_path: Path) -> ForeignBundle:
    """Return the writer of the foreign bundle, in a state directory's models folder."""
    return ForeignBundle(tmp_path / "models" / "foreign")
