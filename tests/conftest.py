"""Fixtures every test may use."""

from __future__ import annotations

import os
import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.audit import sitecustomize as audit
from tests.enrolled import enrolled, enrolled_state, healthy_clips
from tests.sharing import made_once

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.export.full_size import FullSize

__all__ = ["enrolled", "enrolled_state", "healthy_clips"]
REPOSITORY = Path(__file__).parent.parent
AUDIT = Path(__file__).parent / "audit"
# A shell starts what runs in its background with Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long files first: the last one of several processes would be waited for."""
    first = ("soak", "faults", "fuzz", "runtime", "node", "api")
    items.sort(
        key=lambda item: next(
            (i for i, part in enumerate(first) if part in item.path.relative_to(REPOSITORY).parts), len(first)
        )
    )


def pytest_configure(config: pytest.Config) -> None:
    """Have every Python process of the tests note who opens a node's database for writing; see tests/audit."""
    with tempfile.NamedTemporaryFile(prefix="em-writers-", delete=False) as note:
        os.fchmod(note.fileno(), 0o666)  # some daemons run as another user
    config.add_cleanup(Path(note.name).unlink)
    os.environ[audit.NOTE] = note.name
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(AUDIT), os.environ.get("PYTHONPATH"))))
    audit.watch()


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """Take back the umask that a command sets, which a test may run in this process: the next test is not private."""
    mask = os.umask(0o022)
    yield
    os.umask(mask)


@pytest.fixture(autouse=True)
def one_writer() -> Iterator[None]:
    """Fail a test in which anything but the store opened a node's database for writing."""
    note = Path(os.environ[audit.NOTE])
    before = note.stat().st_size
    yield
    complaints = note.read_bytes()[before:].decode().splitlines()
    assert not complaints, "\n".join(dict.fromkeys(complaints))


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


@pytest.fixture(scope="session")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> FullSize:
    """Return MS-CLAP in full size with random weights: checkpoints, and the bundle that the command built from them.

    Mark such tests `torch`.
    """
    from tests.export.full_size import FullSize, make_full_size

    return FullSize(made_once(tmp_path_factory, "full-size", make_full_size))


TORCH = find_spec("torch") is not None and find_spec("msclap") is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip visibly a test marked `torch` where msclap cannot run, and one marked `systemd` unless that is asked for."""
    if item.get_closest_marker("torch") and not TORCH:
        pytest.skip("needs torch and msclap: `make test-export` runs it")
    if item.get_closest_marker("systemd") and not _systemd_asked_for(item):
        pytest.skip("boots a Debian: `make test-systemd` runs it")


def _systemd_asked_for(item: pytest.Item) -> bool:
    return bool(item.config.getoption("markexpr") == "systemd")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let no test be skipped unseen in CI, where every real part is there.

    Only the recordings may be missing, torch outside its own environment, and booted systems outside their own step.
    """
    report = yield
    absent = (not TORCH and item.get_closest_marker("torch")) or (
        not _systemd_asked_for(item) and item.get_closest_marker("systemd")
    )
    recordings = item.get_closest_marker("recordings") or "recordings" in getattr(item, "fixturenames", ())
    if (
        os.environ.get("CI") == "true"
        and report.skipped
        and not (absent or recordings)
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
