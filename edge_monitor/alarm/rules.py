"""When a score becomes an alarm: the numbers the state machine works by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_monitor.config.machine import AlarmSettings


@dataclass(frozen=True, slots=True)
class AlarmRules:
    """The settings of one machine's alarm, in stream time."""

    raise_m: int  # this many …
    raise_n: int  # … of the last this many disjoint windows exceed the threshold
    window_s: float  # the bundle's window length, seconds: windows this far apart share no sound
    clear_ratio: float  # below threshold times this a window counts towards the end
    off_delay_s: float  # for this long, seconds
    update_interval_s: float  # an active alarm repeats itself this often, seconds
    cooldown_s: float  # no new alarm for this long after an end, seconds

    @classmethod
    def of(cls, settings: AlarmSettings, *, window_s: float) -> AlarmRules:
        """Take the rules from a machine's settings and its bundle's window length (seconds)."""
        m, n = settings.raise_
        return cls(
            raise_m=m,
            raise_n=n,
            window_s=window_s,
            clear_ratio=settings.clear_ratio,
            off_delay_s=settings.off_delay_s,
            update_interval_s=settings.update_interval_s,
            cooldown_s=settings.cooldown_s,
        )
