"""`edge-monitor generations`: what was learnt, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_monitor.cli.answers import answered, tell
from edge_monitor.cli.options import json_option, machine_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.config.settings import Settings
    from edge_monitor.node.generations import GenerationSummary


@click.group("generations")
def command() -> None:
    """List what was learnt, or go back to an earlier state of it."""


@command.command("list")
@machine_option
@json_option
def list_(*, settings: Settings, machine: str, as_json: bool) -> None:
    """List a machine's generations: the set of normals, the threshold and why each was built."""
    from edge_monitor.node.operation import OfMachine
    from edge_monitor.node.operations import LIST_GENERATIONS

    generations = answered(settings, LIST_GENERATIONS, OfMachine(machine=machine)).generations
    tell(generations, _lines(settings, machine, generations), as_json=as_json)


def _lines(settings: Settings, machine: str, generations: Sequence[GenerationSummary]) -> Iterator[str]:
    from edge_monitor.clock import rfc3339
    from edge_monitor.node.node import Node

    if not generations:
        yield f"{machine}: not enrolled. `edge-monitor enroll` builds the first generation."
    node = Node(settings)
    for each in generations:
        built = f"{'*' if each.active else ' '} {each.generation}  {rfc3339(each.created_ms)}  {each.normals} normals"
        yield f"{built}  {each.scorer}, threshold {each.threshold:.4g}  {each.reason}"
        if each.active and (text := node.another_scorer(machine, each.scorer)):
            yield text


@command.command("build")
@machine_option
@json_option
def build(*, settings: Settings, machine: str, as_json: bool) -> None:
    """Build the next generation from the normals in use, by the configured scorer and alarm settings."""
    from edge_monitor.node.operations import BUILD_GENERATION

    answer = answered(settings, BUILD_GENERATION, BUILD_GENERATION.request(machine=machine, reason="build"))
    built = f"generation {answer.generation} is active, {answer.normals} normals, scored with {answer.scorer}"
    tell(answer, [f"{machine}: {built}", answer.calibration], as_json=as_json)


@command.command("activate")
@click.argument("number", type=click.IntRange(1, 2**63 - 1))
@machine_option
@json_option
def activate(*, number: int, settings: Settings, machine: str, as_json: bool) -> None:
    """Score with generation NUMBER from now on; nothing is deleted."""
    from edge_monitor.node.operations import ACTIVATE_GENERATION

    answer = answered(settings, ACTIVATE_GENERATION, ACTIVATE_GENERATION.request(machine=machine, number=number))
    lines = [f"{machine}: generation {number} is active"]
    if not answer.as_in_use:
        lines.append(
            f"It has {answer.normals} normals, {answer.in_use} are in use: what is enrolled, removed or"
            " built next starts from those. `edge-monitor normals remove` takes recordings out."
        )
    tell(answer, lines, as_json=as_json)
