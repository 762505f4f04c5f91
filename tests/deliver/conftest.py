"""A running broker for the tests that talk to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Yield a mosquitto that listens."""
    with Broker(tmp_path) as running:
        yield running
