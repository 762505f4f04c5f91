"""`edge-monitor outbox`: what the broker refused, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_monitor.cli.answers import answered, list_as_json
from edge_monitor.cli.options import config_option, dry_run_option, json_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_monitor.node.operation import Operation
    from edge_monitor.node.outbox import ChooseMessages, ParkedMessages

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
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import LIST_PARKED

    messages = answered(config_path, LIST_PARKED, Nothing()).messages
    if as_json:
        click.echo(list_as_json(messages))
        return
    for each in messages:
        click.echo(f"{each.id}  {each.created}  {each.topic}  {each.bytes} bytes  {each.reason}")
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
    from edge_monitor.node.operations import RETRY_PARKED

    _change(RETRY_PARKED, "sent again", **chosen)


@command.command("discard")
@_changing
def discard(**chosen: Any) -> None:  # noqa: ANN401 - as above
    """Delete refused messages for good; they stay counted in `alerts_parked`."""
    from edge_monitor.node.operations import DISCARD_PARKED

    _change(DISCARD_PARKED, "discarded", **chosen)


def _change(
    operation: Operation[ChooseMessages, ParkedMessages],
    done: str,
    *,
    ids: tuple[int, ...],
    everything: bool,
    config_path: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    from edge_monitor.node.outbox import ChooseMessages

    if bool(ids) == everything:
        raise click.UsageError("give numbers from `edge-monitor outbox list`, or --all")
    messages = answered(config_path, operation, ChooseMessages(ids=ids, dry_run=dry_run)).messages
    if as_json:
        click.echo(list_as_json(messages))
        return
    for each in messages:
        click.echo(f"{each.id}  {each.topic}  {'would be ' if dry_run else ''}{done}")
    if not messages:
        click.echo("nothing to do")
