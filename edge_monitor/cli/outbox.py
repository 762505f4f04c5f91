"""`edge-monitor outbox`: what the broker refused, and what becomes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_monitor.cli.answers import listed
from edge_monitor.cli.options import config_option, dry_run_option, json_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_Command = TypeVar("_Command", bound="Callable[..., object]")


@click.group("outbox")
def command() -> None:
    """List, retry or discard the messages that the broker refused.

    Those that only wait for the broker are sent by themselves; `edge-monitor status` counts them.
    """


@command.command("list")
@config_option
@json_option
def list_(*, config_path: Path, as_json: bool) -> None:
    """List the refused messages and why each was refused, oldest first."""
    messages = listed(config_path, "outbox.parked")
    if as_json:
        click.echo(json.dumps(messages))
        return
    for each in messages:
        click.echo(f"{each['id']}  {each['created']}  {each['topic']}  {each['bytes']} bytes  {each['reason']}")
    if not messages:
        click.echo("the broker has refused nothing that is still kept")


def _changing(change: _Command) -> _Command:
    """Add which messages a command is about, and the options of every command that changes something."""
    for option in (json_option, dry_run_option, config_option):
        change = option(change)
    change = click.option("--all", "everything", is_flag=True, help="All that were refused.")(change)
    return click.argument("ids", metavar="NUMBER...", type=click.IntRange(min=1), nargs=-1)(change)


@command.command("retry")
@_changing
def retry(**chosen: Any) -> None:  # noqa: ANN401 - of `_changing`, as `_change` takes it
    """Send refused messages again, once the broker's permissions or limits are right."""
    _change("outbox.retry", "sent again", **chosen)


@command.command("discard")
@_changing
def discard(**chosen: Any) -> None:  # noqa: ANN401 - as above
    """Delete refused messages for good; they stay counted in `alerts_parked`."""
    _change("outbox.discard", "discarded", **chosen)


def _change(
    verb: str, done: str, *, ids: tuple[int, ...], everything: bool, config_path: Path, dry_run: bool, as_json: bool
) -> None:
    if bool(ids) == everything:
        raise click.UsageError("give numbers from `edge-monitor outbox list`, or --all")
    messages = listed(config_path, verb, ids=ids, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(messages))
        return
    for each in messages:
        click.echo(f"{each['id']}  {each['topic']}  {'would be ' if dry_run else ''}{done}")
    if not messages:
        click.echo("nothing to do")
