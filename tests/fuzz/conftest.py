"""Nothing grows while inputs are tried."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
GROWTH_MB = 300  # of the whole test process over one file of tests; onnxruntime and numpy take half of it once
_MB_IN_KIB = 1024


@pytest.fixture(autouse=True, scope="module")
def _nothing_grows() -> Iterator[None]:
    """Fail a file of tests whose inputs made the process large."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / _MB_IN_KIB
    assert grown_mb < GROWTH_MB, f"the process grew by {grown_mb:.0f} MB"
