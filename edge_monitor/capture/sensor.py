"""Has the microphone changed, and not the machine? Its gain, or how high it hears; pure.

A gain moves every band by the same number of decibels; a machine never does. So a window whose bands have all moved
alike, out of the range that was learnt, is the learnt sound through another gain. A sample rate that the operating
system has lowered takes the top bands away altogether and leaves the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# How far all bands together must leave the learnt range. Losing the flow quietens simulated fans by up to 3.5 dB with
# almost one shape; anomalous MIMII clips move by up to 3.1 dB. Mixers move in larger steps.
_STEP_DB = 4.0
# How much further than among the normals a band may stray from the others. Simulated healthy machines of another take:
# up to 0.5 dB, through any gain and 16 bits; faults and standing machines at that step: from 3.2 dB.
_STRAY_DB = 1.0
# A resampler's stop band is 60 dB and more below; a machine that loses its highest sounds still leaves the room's.
_LOST_DB = 20.0
_LEAST_NORMALS = 8  # fewer do not show how far the bands stray by themselves


@dataclass(frozen=True, slots=True, eq=False)
class SensorProfile:
    """How one machine's normals sound through the microphone they were heard with.

    An entry is the window's level, then each band's steady noise, lowest band first; all dB re full scale.
    """

    centre_db: Array  # (entries,) medians
    stray_db: Array  # (entries,) furthest that a normal's entry lay from where its other entries put it
    lowest_db: Array  # (entries,) quietest normal
    shift_db: tuple[float, float]  # least and largest common shift of a normal's entries against the centre
    level_dbfs: tuple[float, float]  # least and largest level of a normal

    def usual(self, level_dbfs: float) -> bool:
        """Return whether the level is one of a normal: then no gain has changed, and nothing else need be measured."""
        least, largest = self.level_dbfs
        return least <= level_dbfs <= largest


def learn_sensor(normals: Sequence[Sequence[float]]) -> SensorProfile | None:
    """Return the profile of these normals' entries (level, then bands, in dB), or None when they are too few."""
    if len(normals) < _LEAST_NORMALS:
        return None
    entries = np.array(normals, dtype=np.float64)  # (normals, entries)
    centre = np.median(entries, axis=0)
    shifts = np.median(entries - centre, axis=1)  # (normals,)
    stray = np.abs(entries - centre - shifts[:, None])  # (normals, entries)
    levels = entries[:, 0]
    return SensorProfile(
        centre_db=centre,
        stray_db=stray.max(axis=0),
        lowest_db=entries.min(axis=0),
        shift_db=(float(shifts.min()), float(shifts.max())),
        level_dbfs=(float(levels.min()), float(levels.max())),
    )


def find_change(profile: SensorProfile, window: Sequence[float], band_hz: Sequence[float]) -> str | None:
    """Return in one line how the microphone has changed, or None when this window does not say that it has.

    `window` holds the entries of one window, `band_hz` where each of its bands begins. Raises ValueError when they are
    not as many as were learnt.
    """
    entries = np.array(window, dtype=np.float64)
    if len(entries) != len(profile.centre_db) or len(band_hz) != len(entries) - 1:
        raise ValueError(f"{len(entries)} entries and {len(band_hz)} bands; {len(profile.centre_db)} entries learnt")
    least, largest = profile.shift_db
    shift, alike = _common_shift(profile, entries, slice(None))
    if alike and not least - _STEP_DB <= shift <= largest + _STEP_DB:
        how = "louder" if shift > 0 else "quieter"
        return f"everything is {abs(shift):.0f} dB {how} than learnt, in all bands alike: the gain has changed"
    kept = _kept(profile, entries)
    if kept is not None:
        # The band at the cut is half gone, and with it part of the level.
        _, alike = _common_shift(profile, entries, slice(1, kept - 1))
        if alike:
            return f"nothing is heard above {band_hz[kept - 1]:.0f} Hz any more: the sample rate has been lowered"
    return None


def _common_shift(profile: SensorProfile, entries: Array, which: slice) -> tuple[float, bool]:
    """Return by how much these entries have moved together, dB, and whether they all have."""
    moved = (entries - profile.centre_db)[which]
    if not len(moved):
        return 0.0, False
    shift = float(np.median(moved))
    return shift, bool(np.all(np.abs(moved - shift) <= profile.stray_db[which] + _STRAY_DB))


def _kept(profile: SensorProfile, entries: Array) -> int | None:
    """Return the first entry from which all bands are gone; None when the top band is there, or little is left."""
    gone = entries < profile.lowest_db - _LOST_DB
    if not gone[-1]:
        return None
    kept = len(gone) - int(np.argmin(gone[::-1]))  # one past the last entry that is not gone
    return kept if not gone.all() and kept - 1 > len(gone) // 2 else None
