"""`edge-monitor outbox`: what the broker refused, and what becomes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.cli.options import config_option, dry_run_option, json_option

if TYPE_CHECKING:
    from pathlib import Path


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
    messages = _asked(config_path, "outbox.parked")
    if as_json:
        click.echo(json.dumps(messages))
        return
    for each in messages:
        click.echo(f"{each['id']}  {each['created']}  {each['topic']}  {each['bytes']} bytes  {each['reason']}")
    if not messages:
        click.echo("the broker has refused nothing that is still kept")


@command.command("retry")
@click.argument("ids", metavar="NUMBER...", type=click.IntRange(min=1), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were refused.")
@config_option
@dry_run_option
@json_option
def retry(*, ids: tuple[int, ...], everything: bool, config_path: Path, dry_run: bool, as_json: bool) -> None:
    """Send refused messages again, once the broker's permissions or limits are right."""
    _require_choice(ids, everything=everything)
    _tell(_asked(config_path, "outbox.retry", ids=ids, dry_run=dry_run), "sent again", dry_run=dry_run, as_json=as_json)


@command.command("discard")
@click.argument("ids", metavar="NUMBER...", type=click.IntRange(min=1), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were refused.")
@config_option
@dry_run_option
@json_option
def discard(*, ids: tuple[int, ...], everything: bool, config_path: Path, dry_run: bool, as_json: bool) -> None:
    """Delete refused messages for good; they stay counted in `alerts_parked`."""
    _require_choice(ids, everything=everything)
    _tell(
        _asked(config_path, "outbox.discard", ids=ids, dry_run=dry_run), "discarded", dry_run=dry_run, as_json=as_json
    )


def _require_choice(ids: tuple[int, ...], *, everything: bool) -> None:
    if bool(ids) == everything:
        raise click.UsageError("give numbers from `edge-monitor outbox list`, or --all")


def _asked(config_path: Path, verb: str, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - passed through
    from edge_monitor.config_file import load_settings
    from edge_monitor.service.client import open_node

    with open_node(load_settings(config_path)) as ask:
        return list(ask(verb, **arguments))


def _tell(messages: list[dict[str, Any]], done: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(messages))
        return
    for each in messages:
        click.echo(f"{each['id']}  {each['topic']}  {'would be ' if dry_run else ''}{done}")
    if not messages:
        click.echo("nothing to do")
