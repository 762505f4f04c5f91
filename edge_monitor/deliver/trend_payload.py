"""What is said of where a machine's scores go: two scales, flat."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_monitor.deliver.payloads import Absent, Count, Flag, Line, MachinePayload, Milliseconds, Moment, Ratio

TrendLabel = Literal["rising", "falling", "steady", "unknown"]


class TrendPayload(MachinePayload):
    """Where a machine's scores go: retained, the last value, published when it changes, at most every ten minutes."""

    generation: Count | Absent = Field(default=None, description="which learnt state scored it; others do not compare")
    rising: Flag = Field(description="1: rising over hours or over days")
    text: Line = Field(description="the same in words")
    hours_direction: TrendLabel = Field(description="of 10-minute medians over 12 hours; unknown: too few of them")
    hours_since: Moment | Absent = Field(default=None, description="since when the line goes so, RFC 3339 UTC")
    hours_since_ms: Milliseconds | Absent = Field(
        default=None, description="the same in milliseconds since 1970-01-01 UTC"
    )
    hours_slope_percent_per_h: float | Absent = Field(
        default=None, description="by how many per cent the score grows, at most 1e6"
    )
    hours_slope_low_percent_per_h: float | Absent = Field(
        default=None, description="the same: lower end of the 90 % interval; absent: unbounded"
    )
    hours_slope_high_percent_per_h: float | Absent = Field(
        default=None, description="the same: upper end; absent: unbounded"
    )
    hours_ratio: Ratio | Absent = Field(default=None, description="score / threshold at the line's end")
    hours_threshold_at_ms: Milliseconds | Absent = Field(
        default=None,
        description="when a rising line would reach the threshold, if it goes on; absent: it has, or nobody can say",
    )
    hours_threshold_earliest_ms: Milliseconds | Absent = Field(
        default=None, description="the same: at the steep end of the slope's interval"
    )
    hours_threshold_latest_ms: Milliseconds | Absent = Field(default=None, description="the same: at the flat end")
    days_direction: TrendLabel = Field(description="of daily medians over a year; unknown: too few of them")
    days_since: Moment | Absent = Field(default=None, description="since when the line goes so, RFC 3339 UTC")
    days_since_ms: Milliseconds | Absent = Field(
        default=None, description="the same in milliseconds since 1970-01-01 UTC"
    )
    days_slope_percent_per_day: float | Absent = Field(
        default=None, description="by how many per cent the score grows, at most 1e6"
    )
    days_slope_low_percent_per_day: float | Absent = Field(
        default=None, description="the same: lower end of the 90 % interval; absent: unbounded"
    )
    days_slope_high_percent_per_day: float | Absent = Field(
        default=None, description="the same: upper end; absent: unbounded"
    )
    days_ratio: Ratio | Absent = Field(default=None, description="score / threshold at the line's end")
    days_threshold_at_ms: Milliseconds | Absent = Field(
        default=None,
        description="when a rising line would reach the threshold, if it goes on; absent: it has, or nobody can say",
    )
    days_threshold_earliest_ms: Milliseconds | Absent = Field(
        default=None, description="the same: at the steep end of the slope's interval"
    )
    days_threshold_latest_ms: Milliseconds | Absent = Field(default=None, description="the same: at the flat end")
