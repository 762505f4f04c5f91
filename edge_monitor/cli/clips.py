"""Recordings named on a command line: found, and told apart by machine."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_monitor.capture.recording import list_recordings, rate_of
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


def of_one_rate(files: Sequence[Path], channel: int, most_hz: int) -> tuple[list[Path], str]:
    """Return the recordings of the sample rate that most have, and a line about the others; empty: there are none.

    Rates from `most_hz` on are the same: at that they are heard. What cannot be read is left for the reader to tell.
    """
    rates: dict[Path, int] = {}
    for path in files:
        with suppress(AudioError):  # told when it is read
            rates[path] = min(rate_of(path, channel), most_hz)
    counts = Counter(rates.values())
    if len(counts) < 2:  # noqa: PLR2004 - all have one
        return list(files), ""
    chosen_hz = max(counts, key=lambda rate_hz: (counts[rate_hz], rate_hz))
    chosen = [path for path in files if rates.get(path, chosen_hz) == chosen_hz]
    others = " and ".join(f"{rate_hz / 1000:g}" for rate_hz in sorted(counts) if rate_hz != chosen_hz)
    return chosen, (
        f"{len(files) - len(chosen)} of {len(files)} recordings have {others} kHz, the others {chosen_hz / 1000:g} kHz:"
        " left out, since one machine is heard at one sample rate"
    )


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
