"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let no test be skipped unseen in CI, where every real part is there; only the recordings may be missing."""
    report = yield
    recordings = item.get_closest_marker("recordings") or "recordings" in getattr(item, "fixturenames", ())
    if os.environ.get("CI") == "true" and report.skipped and not recordings and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
