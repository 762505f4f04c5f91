"""`edge-monitor run`: the daemon."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

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
    from edge_monitor.runtime import logs
    from edge_monitor.runtime.runner import Runner

    log = logs.configure(debug=verbose)
    try:
        code = Runner(config_path, lambda: log.dropped).run()
    finally:
        log.finish()
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process, all that matters being closed, without the interpreter's own end.

    That one aborts when a thread nobody waits for, of an explanation or an enrolment, is inside a model just then.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a log that was closed is no reason to fail
            if stream is not None:
                stream.flush()
    os._exit(code)
