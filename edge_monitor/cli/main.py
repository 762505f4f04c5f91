"""The `edge-monitor` command: finds its subcommands without importing them, and tells errors in one line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, NamedTuple

import click

from edge_monitor import __version__
from edge_monitor.errors import EdgeMonitorError

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 128 + 2  # what a shell reports for SIGINT


class _Entry(NamedTuple):
    """Where a subcommand lives, and its line in `--help`, so that help imports nothing."""

    module: str
    name: str
    help: str


def _entry(module: str, help_line: str, name: str = "command") -> _Entry:
    return _Entry(f"edge_monitor.cli.{module}", name, help_line)


COMMANDS = {
    "alarms": _entry("alarms", "List, show, export or reject alarms."),
    "backup": _entry("backup", "Write what was learnt, and the configuration, into one file."),
    "calibrate": _entry("calibrate", "Find a machine's threshold anew, and say what it promises."),
    "caption": _entry("caption", "Describe recordings in a bundle's own words."),
    "completion": _entry("completion", "Print the completion script for a shell."),
    "config": _entry("config", "Write, check or show the configuration."),
    "demo": _entry("demo", "See it work: a simulated machine, a fault, an alert over MQTT."),
    "devices": _entry("devices", "List the audio inputs."),
    "doctor": _entry("doctor", "Check everything, and say what to do."),
    "enroll": _entry("enroll", "Learn how a machine sounds when healthy."),
    "evaluate": _entry("evaluate", "Measure on recordings whose truth is known."),
    "explain": _entry("explain", "Say how an alarm's or a recording's sound differs from normal."),
    "generations": _entry("generations", "List what was learnt, or go back to an earlier state of it."),
    "inhibit": _entry("inhibit", "Raise no new alarms of a machine for a while."),
    "listen": _entry("listen", "Show level, clipping and bands while you place the microphone."),
    "models": _entry("models", "List, verify, get or build model bundles.", "models"),
    "normals": _entry("normals", "List, remove, restore, export or import normal sounds."),
    "reload": _entry("reload", "Have the daemon take up a changed configuration."),
    "restore": _entry("restore", "Take a backup into use."),
    "outbox": _entry("outbox", "List, retry or discard what the broker refused."),
    "run": _entry("run", "Listen, score and alert until stopped."),
    "score": _entry("score", "Score recordings against a machine's normals."),
    "similarity": _entry("similarity", "Compare recordings with texts."),
    "status": _entry("status", "Show what the machines of this node are doing."),
    "support-bundle": _entry("support_bundle", "Collect what a helper needs, without secrets."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry.module), entry.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


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
