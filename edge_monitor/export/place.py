"""Where a bundle is built and put: beside its place, by one command at a time, in place by a rename."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.manifest import MANIFEST_NAME
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ELSEWHERE = "choose another --out"


def work_folder(out: Path) -> Path:
    """Return where downloads and the unfinished bundle lie: beside `out`, on the same file system."""
    return out.parent / f".{out.name}.pull"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, against other commands that build bundles in it, until the process ends at most.

    Raises BundleError when another one holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BundleError(f"cannot be made: {error.strerror}", where=str(folder), hint=_ELSEWHERE) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BundleError(
                "another command is building a bundle here", where=str(folder), hint="wait until it has ended"
            ) from error
        yield
    finally:
        os.close(descriptor)


def require_free(out: Path, name: str) -> None:
    """Check that nothing but an earlier build of the bundle `name` would be replaced.

    Raises BundleError with what is there instead: it would be deleted.
    """
    remedy = f"{_ELSEWHERE}, or remove it yourself"
    try:
        held = {path.name for path in out.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise BundleError(f"cannot be replaced: {error.strerror}", where=str(out), hint=remedy) from error
    if out.is_mount():
        raise BundleError("is a mount point and cannot be replaced", where=str(out), hint="choose a folder in it")
    if not held:
        return
    try:
        manifest = open_bundle(out).manifest
    except BundleError as error:
        raise BundleError("holds something else than a bundle", where=str(out), hint=remedy) from error
    if manifest.name != name:
        raise BundleError(f"holds the bundle {manifest.name!r}, not {name!r}", where=str(out), hint=remedy)
    foreign = sorted(held - {MANIFEST_NAME} - {file.path.partition("/")[0] for file in manifest.file})
    if foreign:
        raise BundleError(f"holds {foreign[0]!r} beside a bundle", where=str(out), hint=remedy)


def require_space(out: Path, bytes_needed: int) -> None:
    """Check the disk before anything is written. Raises BundleError that says how much is missing."""
    folder = out.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise BundleError(
            f"{free / 1e9:.1f} GB free, {bytes_needed / 1e9:.1f} GB needed",
            where=str(folder),
            hint="make room or choose another --out",
        )


def fresh(out: Path, name: str) -> Path:
    """Return an empty folder of that name to build `out` in; what a command left that was killed is tidied up.

    Raises BundleError when it cannot be made.
    """
    folder = work_folder(out) / "bundle" / name
    try:
        if not out.exists() and _former(folder).exists():
            _former(folder).rename(out)  # it was killed between the two renames
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise BundleError(f"cannot be made: {error.strerror}", where=str(folder), hint=_ELSEWHERE) from error
    return folder


def _former(folder: Path) -> Path:
    """Return where the bundle lies that a finished one takes the place of."""
    return folder.parent / "former" / "bundle"


def put_in_place(folder: Path, out: Path) -> None:
    """Rename a finished bundle to `out`; what was there is kept until the new one is in place.

    Raises BundleError when the file system refuses, and leaves what was there.
    """
    former = _former(folder)
    try:
        _sync(folder)
        if out.exists():
            former.parent.mkdir(exist_ok=True)
            out.rename(former)
        try:
            folder.rename(out)
        except OSError:
            if former.exists():
                former.rename(out)
            raise
        _sync(out.parent)
    except OSError as error:
        raise BundleError(f"cannot be put in place: {error.strerror}", where=str(out)) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
