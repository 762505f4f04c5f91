"""`edge-monitor inhibit`: no new alarms while people work on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import answered, tell
from edge_monitor.cli.options import json_option, machine_option

if TYPE_CHECKING:
    from edge_monitor.config.settings import Settings


@click.command("inhibit")
@machine_option
@click.option("--minutes", type=click.FloatRange(min=0, max=1440, min_open=True), help="For so long, 24 hours at most.")
@click.option("--resume", is_flag=True, help="End an inhibition now.")
@json_option
def command(*, settings: Settings, machine: str, minutes: float | None, resume: bool, as_json: bool) -> None:
    """Raise no new alarm of a machine for a while, e.g. during maintenance; survives a restart, ends by itself."""
    if (minutes is None) != resume:
        raise click.UsageError("give --minutes N or --resume")
    from edge_monitor.node.operations import INHIBIT

    answer = answered(settings, INHIBIT, INHIBIT.request(machine=machine, seconds=(minutes or 0.0) * 60.0))
    done = "alarms are raised again" if resume else f"no new alarm until {answer.until}"
    tell(answer, [f"{machine}: {done}"], as_json=as_json)
