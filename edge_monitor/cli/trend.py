"""`edge-monitor trend`: where a machine's scores go, and when they would reach the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import answered, tell
from edge_monitor.cli.options import json_option, machine_option
from edge_monitor.cli.plot import plotted, unicode_wanted, width
from edge_monitor.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import Settings
    from edge_monitor.node.trend import ScaleTrend, TrendsOfMachine

_SPANS = {"hours": "12 hours", "days": "a year"}


@click.command("trend")
@machine_option
@json_option
def command(*, settings: Settings, machine: str, as_json: bool) -> None:
    """Show where a machine's scores go: rising, falling or steady, over 12 hours and over a year.

    Rising: its slope's 90 % interval lies above zero, it has come at least half-way from the usual score to the
    threshold, and it is higher than it ever was below the threshold in the week before (the years before).
    """
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import SHOW_TREND

    answer = answered(settings, SHOW_TREND, OfMachine(machine=machine))
    tell(answer, _lines(answer), as_json=as_json)


def _lines(answer: TrendsOfMachine) -> Iterator[str]:
    if answer.generation is None:
        yield f"{answer.machine}: not enrolled. `edge-monitor enroll` learns how it sounds when healthy."
        return
    for scale in (answer.hours, answer.days):
        yield f"{answer.machine}, {_SPANS[scale.scale]}: {scale.text}"
        yield from _plot(scale)


def _plot(scale: ScaleTrend) -> Iterator[str]:
    if not scale.medians:
        return
    moments = [median.end_ms for median in scale.medians]
    ratios = [median.ratio for median in scale.medians]
    yield from plotted(moments, ratios, line=1.0, columns=width(), blocks=unicode_wanted())
    first, last = (f"{rfc3339(moment)[:16]}Z" for moment in (moments[0], moments[-1]))
    yield f"      score / threshold, {first} to {last}"
