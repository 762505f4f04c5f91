"""`edge-monitor generations`: what was learnt, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import answered, echo_json, list_as_json
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
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import LIST_GENERATIONS

    generations = answered(config_path, LIST_GENERATIONS, OfMachine(machine=machine)).generations
    if as_json:
        click.echo(list_as_json(generations))
        return
    if not generations:
        click.echo(f"{machine}: not enrolled. `edge-monitor enroll` builds the first generation.")
    node = Node(load_settings(config_path))
    for each in generations:
        mark = "*" if each.active else " "
        click.echo(
            f"{mark} {each.generation}  {rfc3339(each.created_ms)}  {each.normals} normals"
            f"  {each.scorer}, threshold {each.threshold:.4g}  {each.reason}"
        )
        if each.active and (text := node.another_scorer(machine, each.scorer)):
            click.echo(text)


@command.command("build")
@config_option
@machine_option
@json_option
def build(*, config_path: Path, machine: str, as_json: bool) -> None:
    """Build the next generation from the normals in use, by the configured scorer and alarm settings."""
    from edge_monitor.node.generations import BuildGeneration
    from edge_monitor.node.operations import BUILD_GENERATION

    answer = answered(config_path, BUILD_GENERATION, BuildGeneration(machine=machine, reason="build"))
    if as_json:
        echo_json(answer)
    else:
        click.echo(
            f"{machine}: generation {answer.generation} is active, {answer.normals} normals, scored with"
            f" {answer.scorer}\n{answer.calibration}"
        )


@command.command("activate")
@click.argument("number", type=click.IntRange(1, 2**63 - 1))
@config_option
@machine_option
@json_option
def activate(*, number: int, config_path: Path, machine: str, as_json: bool) -> None:
    """Score with generation NUMBER from now on; nothing is deleted."""
    from edge_monitor.node.generations import ActivateGeneration
    from edge_monitor.node.operations import ACTIVATE_GENERATION

    answer = answered(config_path, ACTIVATE_GENERATION, ActivateGeneration(machine=machine, number=number))
    if as_json:
        echo_json(answer)
        return
    click.echo(f"{machine}: generation {number} is active")
    if not answer.as_in_use:
        click.echo(
            f"It has {answer.normals} normals, {answer.in_use} are in use: what is enrolled, removed or"
            " built next starts from those. `edge-monitor normals remove` takes recordings out."
        )
