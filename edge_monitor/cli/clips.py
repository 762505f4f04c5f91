"""Recordings named on a command line: found, and told apart by machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_monitor.capture.recording import list_recordings
from edge_monitor.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from edge_monitor.node.clips import Clip

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


def require_windows(clip: Clip, refusal: str) -> None:
    """Raise AudioError, with what is refused and why, when no window of a clip is the sound of a machine."""
    if not clip.windows:
        raise AudioError(f"{refusal}: {clip.faults[0].detail}", where=str(clip.path))


def left_out(clip: Clip) -> Iterator[str]:
    """Yield a line for each window of a clip that is not the sound of a machine."""
    for fault in clip.faults:
        yield f"{clip.path}, {fault.start_s:.0f} s to {fault.end_s:.0f} s: left out: {fault.detail}"


def machine_ids(files: Iterable[Path]) -> set[str]:
    """Return which individual machines the file names speak of, e.g. `id_02`; names without one say nothing."""
    return {match[1] for file in files if (match := _MACHINE_ID.search(file.as_posix()))}
