"""`edge-monitor outbox`: what the broker refused, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_monitor.cli.answers import answered, tell
from edge_monitor.cli.options import dry_run_option, json_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_monitor.config.settings import Settings
    from edge_monitor.node.operation import Operation
    from edge_monitor.node.outbox import ChooseMessages, ParkedMessages

_Command = TypeVar("_Command", bound="Callable[..., object]")


@click.group("outbox")
def command() -> None:
    """List, retry or discard the messages that the broker refused.

    Those that only wait for the broker are sent by themselves; `edge-monitor status` counts them.
    """


@command.command("list")
@settings_option
@json_option
def list_(*, settings: Settings, as_json: bool) -> None:
    """List the refused messages and why each was refused, oldest first."""
    from edge_monitor.node.operation import Nothing
    from edge_monitor.node.operations import LIST_PARKED

    messages = answered(settings, LIST_PARKED, Nothing()).messages
    lines = [f"{each.id}  {each.created}  {each.topic}  {each.bytes} bytes  {each.reason}" for each in messages]
    tell(messages, lines or ["the broker has refused nothing that is still kept"], as_json=as_json)


def _changing(change: _Command) -> _Command:
    """Add which messages a command is about, and the options of every command that changes something."""
    for option in (json_option, dry_run_option, settings_option):
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
    settings: Settings,
    dry_run: bool,
    as_json: bool,
) -> None:
    if bool(ids) == everything:
        raise click.UsageError("give numbers from `edge-monitor outbox list`, or --all")
    messages = answered(settings, operation, operation.request(ids=ids, dry_run=dry_run)).messages
    lines = [f"{each.id}  {each.topic}  {'would be ' if dry_run else ''}{done}" for each in messages]
    tell(messages, lines or ["nothing to do"], as_json=as_json)
