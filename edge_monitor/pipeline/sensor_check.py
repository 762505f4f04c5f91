"""What tells a changed microphone from a changed machine: figures of a window, and the same of its normals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.capture.sensor import SensorLook, SensorProfile, find_change, learn_sensor
from edge_monitor.explain.acoustics import steady_noise_db
from edge_monitor.explain.spectrum import band_edges
from edge_monitor.memory.normals import Normals
from edge_monitor.pipeline.normal_acoustics import evenly_chosen, measured_acoustics

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.memory.generations import Generation
    from edge_monitor.records import Samples, Window

# A look takes twice as long as embedding. A window that found the microphone unchanged speaks for those that overlap it
# by half, unless the level has moved: a gain moves it at once, and an alarm takes more than one window.
_SPEAKS_FOR = 0.5  # of a window
_MOVED_DB = 1.0
# A changed gain is remembered for so long: loads come and go within minutes, and a gain that was set back days ago says
# nothing of a machine that is quieter today.
_REMEMBERED_S = 600.0


def load_sensor(connection: sqlite3.Connection, generation: Generation) -> SensorProfile | None:
    """Return how a generation's normals sound through their microphone; None when too few were measured."""
    normals = Normals(connection, generation.machine)
    measured = list(measured_acoustics(normals, evenly_chosen(generation.members)).values())
    rate_hz = measured[-1].rate_hz if measured else 0
    return learn_sensor([(each.level_dbfs, *each.noise_db) for each in measured if each.rate_hz == rate_hz])


def sensor_change(
    profile: SensorProfile, samples: Samples, rate_hz: int, level_dbfs: float, *, changed: bool = False
) -> SensorLook:
    """Look how the microphone has changed since the profile was learnt, as far as this window says it."""
    entries = [level_dbfs, *steady_noise_db(samples, rate_hz)]
    return find_change(profile, entries, band_edges(rate_hz)[:-1].tolist(), changed=changed)


class SensorWatch:
    """Looks at windows for a changed microphone, as seldom as will do. Belongs to one thread."""

    def __init__(self) -> None:
        self._last = SensorLook()
        self._known: SensorProfile | None = None  # by which profile that was seen,
        self._until_s, self._level_dbfs = 0.0, 0.0  # until when it holds, and at which level
        self._gain_until_s = 0.0  # until when a changed gain is remembered

    def look(self, profile: SensorProfile | None, window: Window, level_dbfs: float) -> SensorLook:
        """Look whether the microphone has changed; where nothing is known of it, it has not."""
        if profile is None:
            return SensorLook()
        known = profile is self._known
        near = window.end_s <= self._until_s and abs(level_dbfs - self._level_dbfs) <= _MOVED_DB
        if known and near and self._last.changed is None:
            return self._last
        changed = known and window.end_s <= self._gain_until_s
        self._last = sensor_change(profile, window.samples, window.rate_hz, level_dbfs, changed=changed)
        if not changed:  # else it is the hysteresis that speaks, which does not prolong itself
            self._gain_until_s = window.end_s + (_REMEMBERED_S if self._last.gain_changed else 0.0)
        self._known, self._level_dbfs = profile, level_dbfs
        self._until_s = window.end_s + _SPEAKS_FOR * (window.end_s - window.start_s)
        return self._last
