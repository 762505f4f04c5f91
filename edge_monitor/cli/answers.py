"""What a node answers to one question of a command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_monitor.node.operation import LongOperation, Message, Operation

Q = TypeVar("Q", bound="Message")
P = TypeVar("P", bound="Message")
A = TypeVar("A", bound="Message")


def answered(config_path: Path, operation: Operation[Q, A] | LongOperation[Q, P, A], request: Q) -> A:
    """Return the answer of the configuration's node, or of its daemon. Raises EdgeMonitorError."""
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.config.file import load_settings
    from edge_monitor.node.operation import LongOperation

    with open_node(load_settings(config_path)) as client:
        if isinstance(operation, LongOperation):
            return finish(client, operation, request)
        return client.call(operation, request)


def as_json(answer: Message) -> str:
    """Return an answer as one line of JSON, with the fields that it has."""
    return answer.model_dump_json(exclude_unset=True)


def list_as_json(answers: Iterable[Message]) -> str:
    """Return answers as one line with a JSON list."""
    return json.dumps([each.model_dump(mode="json", exclude_unset=True) for each in answers])


def echo_json(answer: Message) -> None:
    """Print an answer for a script."""
    click.echo(as_json(answer))
