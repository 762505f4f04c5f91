"""Where a bundle is built and put: beside its place, by one command at a time, in place by a rename."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edge_monitor.durable import sync_folder
from edge_monitor.encode.bundle import open_bundle
from edge_monitor.encode.manifest import MANIFEST_NAME
from edge_monitor.errors import BundleError, BundleMissingError, os_errors_as

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ELSEWHERE = "choose another --out"


def work_folder(out: Path) -> Path:
    """Return where downloads and the unfinished bundle lie: beside `out`, on the same file system."""
    return out.parent / f".{out.name}.pull"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the folder that `out` is to lie in, made if need be, against other commands that build bundles there.

    What a command left that ended between two renames is put back first. Raises BundleError when another command holds
    the folder, or it cannot be made.
    """
    folder = out.parent
    with os_errors_as(BundleError, "cannot be made", where=folder, hint=_ELSEWHERE):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os_errors_as(BundleError, "cannot be used", where=folder, hint=_ELSEWHERE):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                busy = "another command is building a bundle here"
                raise BundleError(busy, where=str(folder), hint="wait until it has ended") from error
            _put_back(out)
        yield
    finally:
        os.close(descriptor)


def require_free(out: Path, name: str, get: str | None) -> None:
    """Check that nothing would be replaced but the bundle `name` that the command `get` made, or its recipe.

    Raises BundleError with what is there instead: it would be deleted.
    """
    remedy = f"{_ELSEWHERE}, or remove it yourself"
    with os_errors_as(BundleError, "cannot be replaced", where=out, hint=remedy):
        try:
            held = list(out.iterdir())
        except FileNotFoundError:
            return
    if out.is_mount():
        raise BundleError("is a mount point and cannot be replaced", where=str(out), hint="choose a folder in it")
    if not held:
        return
    try:
        manifest = open_bundle(out).manifest
    except BundleMissingError as error:
        raise BundleError("holds something else than a bundle", where=str(out), hint=remedy) from error
    if get is None or (manifest.name, manifest.get) != (name, get):
        raise BundleError(f"holds the bundle {manifest.name!r}, made otherwise", where=str(out), hint=remedy)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    foreign = sorted(files - {MANIFEST_NAME} - {file.path for file in manifest.file})
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


@contextmanager
def building(out: Path, name: str) -> Iterator[Path]:
    """Provide an empty folder of that name to build `out` in; afterwards it is gone, whatever happened.

    Raises BundleError when it cannot be made.
    """
    folder = work_folder(out) / "bundle" / name
    shutil.rmtree(folder.parent, ignore_errors=True)
    with os_errors_as(BundleError, "cannot be made", where=folder, hint=_ELSEWHERE):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _put_back(out)  # fails before anything is deleted
        shutil.rmtree(folder.parent, ignore_errors=True)
        with suppress(OSError):  # downloads stay
            work_folder(out).rmdir()


def put_in_place(folder: Path, out: Path) -> None:
    """Rename a finished bundle, made by `building`, to `out`; what was there is kept until the new one is in place.

    Raises BundleError when the file system refuses; `building` then puts back what was there.
    """
    with os_errors_as(BundleError, "cannot be put in place", where=out):
        sync_folder(folder)
        if out.exists():
            out.rename(_former(out))
        folder.rename(out)
        sync_folder(out.parent)


def _former(out: Path) -> Path:
    """Return where a bundle lies while another takes its place; no bundle's name begins with a hyphen."""
    return work_folder(out) / "bundle" / "-former"


def _put_back(out: Path) -> None:
    """Take the former bundle into use again where no other came into its place. Raises OSError."""
    if _former(out).exists() and not out.exists():
        _former(out).rename(out)
