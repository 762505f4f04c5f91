"""What tells a changed microphone from a changed machine: figures of a window, and the same of its normals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.capture.sensor import SensorProfile, find_change, learn_sensor
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


def load_sensor(connection: sqlite3.Connection, generation: Generation) -> SensorProfile | None:
    """Return how a generation's normals sound through their microphone; None when too few were measured."""
    normals = Normals(connection, generation.machine)
    measured = list(measured_acoustics(normals, evenly_chosen(generation.members)).values())
    rate_hz = measured[-1].rate_hz if measured else 0
    return learn_sensor([(each.level_dbfs, *each.noise_db) for each in measured if each.rate_hz == rate_hz])


def sensor_change(profile: SensorProfile, samples: Samples, rate_hz: int, level_dbfs: float) -> str | None:
    """Return in one line how the microphone has changed since the profile was learnt, as far as this window says it."""
    return find_change(profile, [level_dbfs, *steady_noise_db(samples, rate_hz)], band_edges(rate_hz)[:-1].tolist())


class SensorWatch:
    """Looks at windows for a changed microphone, as seldom as will do. Belongs to one thread."""

    def __init__(self) -> None:
        # by which profile, until when, at which level
        self._unchanged: tuple[SensorProfile, float, float] | None = None

    def change(self, profile: SensorProfile | None, window: Window, level_dbfs: float) -> str | None:
        """Return in one line how the microphone has changed, or None: not, or nothing is known of it."""
        if profile is None:
            return None
        if self._unchanged is not None:
            known, until_s, then_dbfs = self._unchanged
            if known is profile and window.end_s <= until_s and abs(level_dbfs - then_dbfs) <= _MOVED_DB:
                return None
        changed = sensor_change(profile, window.samples, window.rate_hz, level_dbfs)
        until_s = window.end_s + _SPEAKS_FOR * (window.end_s - window.start_s)
        self._unchanged = None if changed is not None else (profile, until_s, level_dbfs)
        return changed
