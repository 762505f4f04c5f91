"""Trends: where a machine's scores go, on two scales, from what was stored of them."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_monitor import clock
from edge_monitor.alarm.trend import FEWEST, trend
from edge_monitor.memory.generations import active_generation
from edge_monitor.node.operation import Message, OfMachine
from edge_monitor.pipeline.machine_pipeline import threshold_of
from edge_monitor.pipeline.score_rollups import DAY_S, HOUR_S, TEN_MINUTES_S, medians_of
from edge_monitor.records import Direction

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from edge_monitor.config.machine import MachineSettings
    from edge_monitor.node.node import Node
    from edge_monitor.records import Trend


@dataclass(frozen=True, slots=True)
class Scale:
    """One way to look back."""

    name: Literal["hours", "days"]
    step_s: int  # from one median to the next
    span_s: int  # looked back
    before_step_s: int  # of the medians before that span,
    before_s: int  # so far back: in what the scores reached then, nothing new is to be seen
    per_s: int  # of its slope
    per: Literal["an hour", "a day"]


HOURS = Scale("hours", TEN_MINUTES_S, 12 * HOUR_S, HOUR_S, 7 * DAY_S, HOUR_S, "an hour")
DAYS = Scale("days", DAY_S, 365 * DAY_S, DAY_S, 9 * 365 * DAY_S, DAY_S, "a day")


class Median(Message):
    """One of the medians a trend is found from."""

    end_ms: int  # milliseconds since 1970-01-01 UTC
    ratio: float  # score / threshold


class ScaleTrend(Message):
    """The trend on one scale; without `since` there are too few medians to say."""

    scale: Literal["hours", "days"]  # 10-minute medians over 12 hours; daily medians over a year
    direction: Literal["rising", "falling", "steady", "unknown"]
    text: str
    since: str | None = None  # RFC 3339
    since_ms: int | None = None
    per: Literal["an hour", "a day"]
    slope_percent: float | None = None  # by which the score grows in that time
    slope_low_percent: float | None = None  # 90 % interval; None: unbounded
    slope_high_percent: float | None = None
    ratio: float | None = None  # score / threshold, at the line's end
    threshold_at: str | None = None  # RFC 3339: when the line would reach the threshold, if it goes on
    threshold_earliest: str | None = None
    threshold_latest: str | None = None
    medians: tuple[Median, ...]


class TrendsOfMachine(Message):
    """A machine's trends, of the scores that its active generation gave: others do not compare."""

    machine: str
    generation: int | None  # None: not enrolled
    hours: ScaleTrend
    days: ScaleTrend


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is seen on one scale."""

    scale: Scale
    end_s: NDArray[np.float64]  # (n,) of each median, seconds since 1970-01-01 UTC
    ratio: NDArray[np.float64]  # (n,) median score / threshold
    trend: Trend | None

    @property
    def rising(self) -> bool:
        """Return whether the scores rise."""
        return self.trend is not None and self.trend.direction is Direction.RISING


def trends(node: Node, request: OfMachine) -> TrendsOfMachine:
    """Return where a machine's scores go."""
    machine, now_ms = node.machine(request.machine), clock.now().wall_ms
    with node.reading() as connection:
        generation, seen = look(connection, machine, now_ms)
    hours, days = (_told(each) for each in seen)
    return TrendsOfMachine(machine=machine.name, generation=generation, hours=hours, days=days)


def look(connection: sqlite3.Connection, machine: MachineSettings, now_ms: int) -> tuple[int | None, tuple[Seen, Seen]]:
    """Return a machine's active generation, None: it is not enrolled, and what is seen of its scores on each scale."""
    generation = active_generation(connection, machine.name)
    if generation is None or generation.implausible():
        nothing = np.empty(0)
        return None, (Seen(HOURS, nothing, nothing, None), Seen(DAYS, nothing, nothing, None))
    threshold = threshold_of(machine.alarm, generation)
    usual = generation.calibration.median_score / threshold

    def on(scale: Scale) -> Seen:
        begin_ms = now_ms - 1000 * scale.span_s
        judged = (machine.name, generation.number)
        end_s, score = medians_of(connection, *judged, scale.step_s, since_ms=begin_ms, until_ms=now_ms)
        _, before = medians_of(
            connection,
            *judged,
            scale.before_step_s,
            since_ms=begin_ms - 1000 * scale.before_s,
            until_ms=begin_ms,
        )
        ratio = score / threshold
        return Seen(
            scale, end_s, ratio, trend(end_s, ratio, step_s=scale.step_s, usual=usual, before=before / threshold)
        )

    return generation.number, (on(HOURS), on(DAYS))


def headline(hours: Seen, days: Seen) -> str:
    """Return in words what matters most: a rise over hours, else one over days, else the hours."""
    over_days = days.rising and not hours.rising
    return sentence(days if over_days else hours)


def sentence(seen: Seen) -> str:
    """Return in words where a machine's scores go."""
    line, scale = seen.trend, seen.scale
    if line is None:
        return f"too few medians to say: {len(seen.end_s)} of {FEWEST}"
    slope, low, high = line.growth_percent(scale.per_s)
    reach = "" if low is None or high is None else f" ({low:+.2g} to {high:+.2g})"
    text = f"{line.direction.value}, {slope:+.2g} % {scale.per}{reach}, now {line.ratio:.2f} of the threshold"
    if line.direction is Direction.STEADY:
        return text
    text = text.replace(",", f" since {_minute(line.since_s)},", 1)
    if line.forecast is None:
        return text
    at, earliest, latest = (_minute(each) for each in astuple(line.forecast))
    return f"{text}; going on so it reaches that at {at} ({earliest} to {latest})"


def _minute(moment_s: float) -> str:
    return clock.rfc3339(round(1000 * moment_s))[:16] + "Z"


def _told(seen: Seen) -> ScaleTrend:
    scale, line = seen.scale, seen.trend
    medians = tuple(
        Median(end_ms=round(1000 * end_s), ratio=ratio)
        for end_s, ratio in zip(seen.end_s.tolist(), seen.ratio.tolist(), strict=True)
    )
    text = sentence(seen)
    if line is None:
        return ScaleTrend(scale=scale.name, direction="unknown", text=text, per=scale.per, medians=medians)
    slope, low, high = line.growth_percent(scale.per_s)
    at, earliest, latest = map(_moment, astuple(line.forecast)) if line.forecast else (None, None, None)
    return ScaleTrend(
        scale=scale.name,
        direction=line.direction.value,
        text=text,
        since=_moment(line.since_s),
        since_ms=round(1000 * line.since_s),
        per=scale.per,
        slope_percent=slope,
        slope_low_percent=low,
        slope_high_percent=high,
        ratio=line.ratio,
        threshold_at=at,
        threshold_earliest=earliest,
        threshold_latest=latest,
        medians=medians,
    )


def _moment(moment_s: float) -> str:
    return clock.rfc3339(round(1000 * moment_s))
