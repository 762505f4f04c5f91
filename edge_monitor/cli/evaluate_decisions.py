"""`edge-monitor evaluate DATASET --decisions`: its options, and what it tells."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeVar

import click

from edge_monitor.cli.answers import tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_monitor.evaluate.decision_report import DecisionAccount

_Command = TypeVar("_Command", bound="Callable[..., object]")

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")


def _durations(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...]:
    """Return durations with commas between, seconds, shortest first."""
    found = [_DURATION.fullmatch(word.strip()) for word in text.split(",")] if text is not None else []
    durations_s = [float(match[1]) * _UNITS_S[match[2]] if match else 0.0 for match in found]
    if not all(durations_s):
        raise click.BadParameter(f"{text!r} is no list of durations such as 90s,5m,1h")
    return tuple(sorted(set(durations_s)))


def _rates(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...]:
    """Return rates with commas between, per day, in their order."""
    try:
        rates = [float(word) for word in text.split(",")] if text is not None else []
    except ValueError:
        rates = [math.nan]
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise click.BadParameter(f"{text!r} is no list of numbers above 0 such as 0.1,0.01")
    return tuple(dict.fromkeys(rates))


_OPTIONS = (
    click.option(
        "--decisions",
        is_flag=True,
        help="Instead: how many healthy and faulty streams of the clips raise an alarm; 20 splits or --resplit N.",
    ),
    click.option(
        "--learn",
        "learn_s",
        metavar="LIST",
        callback=_durations,
        help="With --decisions: normal sound learnt, as 1m,5m,15m; default: 60 % of the normal clips.",
    ),
    click.option(
        "--false-alarms-per-day",
        "per_day",
        metavar="LIST",
        callback=_rates,
        help="With --decisions: what calibration aims at, as 0.1,0.01; default: 0.1.",
    ),
)


def decision_options(command: _Command) -> _Command:
    """Add the options; the command receives `decisions: bool`, `learn_s` (seconds) and `per_day`, empty by default."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def require_decisions(*, decisions: bool, only_with: dict[str, object], not_with: dict[str, object]) -> None:
    """Raise click.UsageError for an option (name -> value) that does not go with what is measured."""
    for option, value in (not_with if decisions else only_with).items():
        if value:
            raise click.UsageError(f"{option} goes {'not' if decisions else 'only'} with --decisions")


def tell_decisions(account: DecisionAccount, out: Path | None, *, as_json: bool) -> None:
    """Write the report into `out`, if given, and print the figures. Raises DatasetError."""
    from edge_monitor.evaluate.decision_report import for_programs, summary, write_decision_report

    if out:
        write_decision_report(account, out)
    tell(for_programs(account), [summary(account).removesuffix("\n")], as_json=as_json)
