"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of MIMII clips (`{machine}/{train,test}/*.flac`), or skip visibly where there is none.

    $EDGE_MONITOR_RECORDINGS names it; otherwise it lies beside the repository. Mark such tests `recordings`.
    """
    beside = REPOSITORY.parent / "shared/recordings/mimii"
    folder = Path(os.environ.get("EDGE_MONITOR_RECORDINGS", beside))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; EDGE_MONITOR_RECORDINGS names their folder")
    return folder
