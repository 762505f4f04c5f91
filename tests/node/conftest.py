"""A node and its backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.product import Product


@pytest.fixture
def saved(enrolled: Callable[..., Product], tmp_path: Path) -> tuple[Product, Path]:
    """Return an enrolled product and its backup, made while no daemon runs."""
    product, file = enrolled(), tmp_path / "node.backup"
    answer = product.answer("backup", str(file))
    assert answer["machines"]["pump"]["active"] == 1
    return product, file
