"""`edge-monitor generations`: what was learnt, and the way back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import listed, summed_up
from edge_monitor.cli.options import config_option, json_option, machine_option

if TYPE_CHECKING:
    from pathlib import Path


@click.group("generations")
def command() -> None:
    """List what was learnt, or go back to an earlier state of it."""


@command.command("list")
@config_option
@machine_option
@json_option
def list_(*, config_path: Path, machine: str, as_json: bool) -> None:
    """List a machine's generations: the set of normals, the threshold and why each was built."""
    from edge_monitor.clock import rfc3339
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.node import Node

    generations = listed(config_path, "generations.list", machine=machine)
    if as_json:
        click.echo(json.dumps(generations))
        return
    if not generations:
        click.echo(f"{machine}: not enrolled. `edge-monitor enroll` builds the first generation.")
    node = Node(load_settings(config_path))
    for each in generations:
        mark = "*" if each["active"] else " "
        click.echo(
            f"{mark} {each['generation']}  {rfc3339(each['created_ms'])}  {each['normals']} normals"
            f"  {each['scorer']}, threshold {each['threshold']:.4g}  {each['reason']}"
        )
        if each["active"] and (text := node.another_scorer(machine, each["scorer"])):
            click.echo(text)


@command.command("build")
@config_option
@machine_option
@json_option
def build(*, config_path: Path, machine: str, as_json: bool) -> None:
    """Build the next generation from the normals in use, by the configured scorer and alarm settings."""
    answer = summed_up(config_path, "generations.build", machine=machine, reason="build")
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(
            f"{machine}: generation {answer['generation']} is active, {answer['normals']} normals, scored with"
            f" {answer['scorer']}\n{answer['calibration']}"
        )


@command.command("activate")
@click.argument("number", type=click.IntRange(min=1))
@config_option
@machine_option
@json_option
def activate(*, number: int, config_path: Path, machine: str, as_json: bool) -> None:
    """Score with generation NUMBER from now on; nothing is deleted."""
    answer = summed_up(config_path, "generations.activate", machine=machine, number=number)
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(f"{machine}: generation {number} is active")
    if not answer["as_in_use"]:
        click.echo(
            f"It has {answer['normals']} normals, {answer['in_use']} are in use: what is enrolled, removed or"
            " built next starts from those. `edge-monitor normals remove` takes recordings out."
        )
