"""The `edge-monitor` command: finds its subcommands without importing them, and tells errors in one line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from edge_monitor import __version__
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 128 + 2  # what a shell reports for SIGINT


# Each lives in the file of its name, as `command`; its line in `--help` stands here, so that help imports nothing.
COMMANDS = {
    "alarms": "List, show, export, reject or test alarms.",
    "backup": "Write what was learnt, and the configuration, into one file.",
    "calibrate": "Find a machine's threshold anew, and say what it promises.",
    "caption": "Describe recordings in a bundle's own words.",
    "completion": "Print the completion script for a shell.",
    "config": "Write, check or show the configuration.",
    "demo": "See it work: a simulated machine, a fault, an alert over MQTT.",
    "devices": "List the audio inputs.",
    "doctor": "Check everything, and say what to do.",
    "enroll": "Learn how a machine sounds when healthy.",
    "evaluate": "Measure on recordings whose truth is known.",
    "explain": "Say how an alarm's or a recording's sound differs from normal.",
    "generations": "List what was learnt, or go back to an earlier state of it.",
    "inhibit": "Raise no new alarms of a machine for a while.",
    "listen": "Show level, clipping and bands while you place the microphone.",
    "models": "List, verify, get or build model bundles.",
    "normals": "List, remove, restore, export or import normal sounds.",
    "reload": "Have the daemon take up a changed configuration.",
    "restore": "Take a backup into use.",
    "outbox": "List, retry or discard what the broker refused.",
    "run": "Listen, score and alert until stopped.",
    "score": "Score recordings against a machine's normals.",
    "similarity": "Compare recordings with texts.",
    "status": "Show what the machines of this node are doing.",
    "support-bundle": "Collect what a helper needs, without secrets.",
    "trend": "Show where a machine's scores go, and when they would reach the threshold.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"edge_monitor.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-monitor")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def group(debug: bool) -> None:
    """Hear a machine, learn its normal sound, and tell the plant over MQTT when the sound changes."""
    del debug  # read by main(), which sees errors that leave the context


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line (default: the process's) and exit with its code; an error of the user is one line.

    A closed pipe (`| head`) is click's affair: it ends quietly.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # A name may have letters that the terminal's encoding lacks.
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        code = group.main(list(arguments), prog_name="edge-monitor", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EdgeMonitorError as error:
        if "--debug" in arguments:
            raise
        for line in str(error).splitlines():
            click.echo(f"edge-monitor: {line}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(_INTERRUPTED)
    except OSError as error:
        if "--debug" in arguments:
            raise
        with suppress(OSError, ValueError):  # what waits in its buffer for a full disk would fail once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"edge-monitor: {error.filename or 'cannot write'}: {error.strerror or error}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
