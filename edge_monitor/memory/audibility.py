"""How faint a fault may be and still be heard, in decibels over the machine's own level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

LOWEST_DB, HIGHEST_DB = -30, 30  # between which levels are tried
NAMES = {
    "bearing": "a bearing fault",
    "cavitation": "cavitation",
    "belt": "belt squeal",
    "rattle": "rattle",
    "imbalance": "imbalance",
}


@dataclass(frozen=True, slots=True)
class FaultLevel:
    """The faintest level at which a fault is heard in half of its seeds."""

    fault: str  # as the simulator names it
    band_hz: tuple[float, float]  # the fault's own band; levels are over the machine's own power in it
    minute_db: int | None  # by m of n windows; None: not heard at HIGHEST_DB either
    three_hours_db: int | None  # by windows above the low line; None: as above, or no low line is known

    @property
    def faintest_db(self) -> int | None:
        """Return the level from which it is heard at all; None: it is not."""
        return min((each for each in (self.minute_db, self.three_hours_db) if each is not None), default=None)


@dataclass(frozen=True, slots=True)
class Audibility:
    """What a generation hears, by faults that were mixed into the sound it was enrolled with."""

    faults: tuple[FaultLevel, ...]
    no_flow: bool  # whether it is heard when the noise between the machine's tones falls by half its amplitude
    windows: int  # of enrolled sound that the faults were mixed into
    minute_s: float  # the n windows of the alarm's m of n
    low_line: bool  # whether one was known

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Audibility:
        """Restore what `asdict` made. Raises TypeError, KeyError or ValueError for what it cannot have made."""
        found = cls(**{**fields, "faults": tuple(_level(each) for each in fields["faults"])})
        if not found.faults or not math.isfinite(found.minute_s):
            raise ValueError("no faults, or no time")
        return found

    @property
    def half_db(self) -> int | None:
        """Return the level from which half of the faults are heard; None: fewer are, at any level tried."""
        levels = sorted(HIGHEST_DB + 1 if each.faintest_db is None else each.faintest_db for each in self.faults)
        half = levels[len(levels) // 2]
        return None if half > HIGHEST_DB else half

    def sentence(self) -> str:
        """Return one line for a person."""
        minute = "a minute" if self.minute_s <= 60 else f"{math.ceil(self.minute_s / 60)} minutes"  # noqa: PLR2004 - s
        parts, told = [], False
        for each in self.faults:
            name = NAMES.get(each.fault, each.fault)
            parts.append(_in_short(name, each) if told else _in_full(name, each, minute))
            told = told or each.faintest_db is not None
        parts.append(f"loss of flow is {'' if self.no_flow else 'not '}heard")
        line = "; ".join(parts)
        return f"{line[0].upper()}{line[1:]}."


def _level(fields: dict[str, Any]) -> FaultLevel:
    low_hz, high_hz = fields["band_hz"]
    level = FaultLevel(**{**fields, "band_hz": (float(low_hz), float(high_hz))})
    for level_db in (level.minute_db, level.three_hours_db):
        if level_db is not None and level_db not in range(LOWEST_DB, HIGHEST_DB + 1):
            raise ValueError(f"a level of {level_db} dB was not tried")
    return level


def _in_full(name: str, level: FaultLevel, minute: str) -> str:
    told, own = [], "the machine's own level in its band"
    for level_db, time in ((level.minute_db, minute), (level.three_hours_db, "three hours")):
        if level_db is not None:
            told.append(f"from {abs(level_db)} dB {'under' if level_db < 0 else 'over'} {own} within {time}")
            own = "it"
    return f"{name} is heard {', '.join(told)}" if told else f"{name} is not heard"


def _in_short(name: str, level: FaultLevel) -> str:
    levels = [each for each in (level.minute_db, level.three_hours_db) if each is not None]
    if not levels:
        return f"{name} is not heard"
    only = " within three hours" if level.minute_db is None else ""
    return f"{name} from {' and '.join(f'{each:+d}' for each in levels)} dB{only}"
