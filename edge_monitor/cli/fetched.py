"""Large parts of answers, fetched into a user's file."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_monitor.errors import EdgeMonitorError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.api.client import NodeClient


def fetched(client: NodeClient, file_id: str, path: Path) -> int:
    """Write a file that an answer named to `path`, all of it or nothing; return its bytes. Raises EdgeMonitorError.

    What is no plain file, as /dev/stdout, is written to as it is.
    """
    in_place = path.exists() and not path.is_file()
    fresh = path if in_place else path.resolve().with_name(f"{path.name}.new")
    size = 0
    try:
        with fresh.open("wb") as file:
            for piece in client.fetch(file_id):
                size += file.write(piece)
            if not in_place:
                file.flush()
                os.fsync(file.fileno())
        if not in_place:
            fresh.replace(path.resolve())
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        if not in_place:
            fresh.unlink(missing_ok=True)
        with suppress(EdgeMonitorError):
            client.forget(file_id)
    return size
