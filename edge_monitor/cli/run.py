"""`edge-monitor run`: the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.options import config_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command("run")
@config_option
@click.option("--verbose", is_flag=True, help="Log at level DEBUG.")
def command(*, config_path: Path, verbose: bool) -> None:
    """Listen, score and alert until stopped (SIGTERM or Ctrl-C), or until the recordings end.

    SIGHUP loads the configuration again; one that cannot be used changes nothing.

    The log goes to standard error: readable on a terminal, JSON lines otherwise.
    """
    from edge_monitor.service import logs
    from edge_monitor.service.runner import Runner

    logs.configure(debug=verbose)
    raise SystemExit(Runner(config_path).run())
