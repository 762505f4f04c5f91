"""Has the microphone changed, and not the machine? Its gain, or how high it hears; pure.

A gain moves every band by the same number of decibels; a machine never does. So a window whose bands have all moved
alike, out of the range that was learnt, is the learnt sound through another gain. A sample rate that the operating
system has lowered takes the top bands away altogether and leaves the rest; one that was raised brings them.
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
_HYSTERESIS_DB = 1.0  # further that bands may stray once the gain has changed: it is not taken back with every window
# A gain that has changed stays so until it is as close: the machine's own load takes a part of it back and gives it.
_BACK_DB = 2.0
_WORTH_DB = 1.0  # a common shift, beyond what was learnt, that whoever looks into an alarm should know of
# From one third octave to the next but one: an anti-aliasing filter does that, no machine and no room (MIMII: 8 dB).
_CLIFF_DB = 30.0
# What a resampler leaves of a band: the lowest that is measured is -130. A converter of -105 dBFS leaves -119 of pink
# noise. Where there is nothing at all it is the rate that took it, whatever becomes of the machine below.
_VOID_DBFS = -125.0
_LEAST_NORMALS = 8  # fewer do not show how far the bands stray by themselves


@dataclass(frozen=True, slots=True, eq=False)
class SensorProfile:
    """How one machine's normals sound through the microphone they were heard with.

    An entry is the window's level, then each band's steady noise, lowest band first; all dB re full scale.
    """

    centre_db: Array  # (entries,) medians
    stray_db: Array  # (entries,) furthest that a normal's entry lay from where its others put it; -inf: not known
    lowest_db: Array  # (entries,) quietest normal
    highest_db: Array  # (entries,) loudest normal
    cut: int | None  # the first entry from which nothing was heard; None: the top band was
    shift_db: tuple[float, float]  # least and largest common shift of a normal's entries against the centre
    level_dbfs: tuple[float, float]  # least and largest level of a normal

    def usual(self, level_dbfs: float) -> bool:
        """Return whether the level is one of a normal: then no gain has changed, and nothing else need be measured."""
        least, largest = self.level_dbfs
        return least <= level_dbfs <= largest


@dataclass(frozen=True, slots=True)
class SensorLook:
    """What one window says of the microphone."""

    changed: str | None = None  # in one line how it has changed; None: it has not
    alike_db: float | None = (
        None  # by how much all bands have moved alike: a changed gain, or less; None: they have not
    )

    @property
    def gain_changed(self) -> bool:
        """Return whether the gain has changed."""
        return self.changed is not None and self.alike_db is not None


def learn_sensor(normals: Sequence[Sequence[float]]) -> SensorProfile | None:
    """Return the profile of these normals' entries (level, then bands, in dB), or None without any.

    Few of them tell of a sample rate, by what it takes away altogether, and of no gain.
    """
    if not normals:
        return None
    entries = np.array(normals, dtype=np.float64)  # (normals, entries)
    centre = np.median(entries, axis=0)
    shifts = np.median(entries - centre, axis=1)  # (normals,)
    stray = np.abs(entries - centre - shifts[:, None])  # (normals, entries)
    levels = entries[:, 0]
    return SensorProfile(
        centre_db=centre,
        stray_db=stray.max(axis=0) if len(normals) >= _LEAST_NORMALS else np.full(len(centre), -np.inf),
        lowest_db=entries.min(axis=0),
        highest_db=entries.max(axis=0),
        cut=_cut(centre),
        shift_db=(float(shifts.min()), float(shifts.max())),
        level_dbfs=(float(levels.min()), float(levels.max())),
    )


def find_change(
    profile: SensorProfile, window: Sequence[float], band_hz: Sequence[float], *, changed: bool = False
) -> SensorLook:
    """Look whether this window says that the microphone has changed; `changed`: its gain had, a moment ago.

    `window` holds the entries of one window, `band_hz` where each of its bands begins. Raises ValueError when they are
    not as many as were learnt.
    """
    entries = np.array(window, dtype=np.float64)
    if len(entries) != len(profile.centre_db) or len(band_hz) != len(entries) - 1:
        raise ValueError(f"{len(entries)} entries and {len(band_hz)} bands; {len(profile.centre_db)} entries learnt")
    least, largest = profile.shift_db
    slack_db = _HYSTERESIS_DB if changed else 0.0
    shift, alike = _common_shift(profile, entries, slice(None), _STRAY_DB + slack_db)
    beyond_db = max(least - shift, shift - largest) if alike else 0.0
    if beyond_db > (_BACK_DB if changed else _STEP_DB):
        how = "louder" if shift > 0 else "quieter"
        told = f"everything is {abs(shift):.0f} dB {how} than learnt, in all bands alike: the gain has changed"
        return SensorLook(told, shift)
    kept = _kept(profile, entries)
    if kept is not None:
        # The band at the cut is half gone, and with it part of the level.
        _, alike = _common_shift(profile, entries, slice(1, kept - 1), _STRAY_DB)
        if alike or entries[kept:].max(initial=-np.inf) <= _VOID_DBFS:
            lost = f"nothing is heard above {band_hz[kept - 1]:.0f} Hz any more: the sample rate has been lowered"
            return SensorLook(lost)
    cut = profile.cut
    if cut is not None and np.all(entries[cut:] > profile.highest_db[cut:] + _LOST_DB):
        _, alike = _common_shift(profile, entries, slice(1, cut - 1), _STRAY_DB)
        if alike or profile.highest_db[cut:].max() <= _VOID_DBFS:
            new = (
                f"there is sound above {band_hz[cut - 1]:.0f} Hz, where nothing was learnt: the sample rate was raised"
            )
            return SensorLook(new)
    return SensorLook(alike_db=shift if beyond_db >= _WORTH_DB else None)


def reach(normals: Sequence[Sequence[float]]) -> int | None:
    """Return the first entry (level, then bands, in dB) from which one or more normals have nothing.

    It is one past the last where they have something everywhere; None: they are too quiet for that to be seen.
    """
    centre = np.median(np.array(normals, dtype=np.float64), axis=0)
    cut = _cut(centre)
    if cut is None and centre[-1] > _VOID_DBFS + _CLIFF_DB:
        return len(centre)
    return cut


def _common_shift(profile: SensorProfile, entries: Array, which: slice, stray_db: float) -> tuple[float, bool]:
    """Return by how much these entries have moved together, dB, and whether they all have but for `stray_db`."""
    moved = (entries - profile.centre_db)[which]
    if not len(moved):
        return 0.0, False
    shift = float(np.median(moved))
    return shift, bool(np.all(np.abs(moved - shift) <= profile.stray_db[which] + stray_db))


def _kept(profile: SensorProfile, entries: Array) -> int | None:
    """Return the first entry from which all bands are gone; None when the top band is there, or little is left."""
    gone = entries < profile.lowest_db - _LOST_DB
    if not gone[-1]:
        return None
    kept = len(gone) - int(np.argmin(gone[::-1]))  # one past the last entry that is not gone
    return kept if not gone.all() and kept - 1 > len(gone) // 2 else None


def _cut(centre_db: Array) -> int | None:
    """Return the first entry from which nothing was heard, of the upper half; None: there is none."""
    for entry in range(len(centre_db) // 2, len(centre_db)):
        if centre_db[entry:].max() < centre_db[entry - 2] - _CLIFF_DB:
            return entry
    return None
