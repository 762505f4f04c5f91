"""A file that is replaced is the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from edge_monitor.durable import replacing
from edge_monitor.errors import StorageError, os_errors_as

if TYPE_CHECKING:
    from pathlib import Path


def test_what_the_body_wrote_takes_the_files_place(tmp_path: Path) -> None:
    """And nothing else is left beside it."""
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")
    with replacing(path) as fresh:
        fresh.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_body_that_fails_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    """A full disk needs the room, so half a file does not stay."""
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with replacing(path) as fresh:
            fresh.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_system_is_told_as_ours(tmp_path: Path) -> None:
    """With what could not be done, where, and the system's reason; our own errors pass as they are."""
    with (
        pytest.raises(StorageError) as caught,
        os_errors_as(StorageError, "cannot be read", where=tmp_path, hint="look"),
    ):
        os.open(tmp_path / "none", os.O_RDONLY)
    assert str(caught.value) == f"{tmp_path}: cannot be read: No such file or directory (look)"
    with pytest.raises(StorageError, match="ours"), os_errors_as(StorageError, "cannot be read", where=tmp_path):
        raise StorageError("ours")
