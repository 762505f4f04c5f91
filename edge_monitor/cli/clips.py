"""Recordings named on a command line: found, and told apart by machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_monitor.capture.recording import list_recordings
from edge_monitor.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# The DCASE and MIMII file layouts name the individual machine: `normal_id_02_00000013.wav`, `id_02/normal/…`.
_MACHINE_ID = re.compile(r"(?:^|[_/])(id_\d+|section_\d+)(?=[_/])")


def find_files(paths: Sequence[Path], pattern: str) -> list[Path]:
    """Return the recordings that `paths` name: files as they are, folders by glob `pattern` in name order.

    Raises AudioError when a path does not exist or a folder has no recording of that pattern.
    """
    found: list[Path] = []
    for path in paths:
        files = list_recordings(path)
        if path.is_dir():
            files = [file for file in files if file.match(pattern)]
            if not files:
                raise AudioError(f"no recording in this folder matches {pattern!r}", where=str(path))
        found.extend(files)
    return list(dict.fromkeys(found))


def machine_ids(files: Iterable[Path]) -> set[str]:
    """Return which individual machines the file names speak of, e.g. `id_02`; names without one say nothing."""
    return {match[1] for file in files if (match := _MACHINE_ID.search(file.as_posix()))}
