"""What a command asks the node, with the large parts of requests and answers, and how it prints an answer."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edge_monitor.errors import EdgeMonitorError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from edge_monitor.api.client import NodeClient
    from edge_monitor.config.settings import Settings
    from edge_monitor.node.operation import A, LongOperation, Operation, P, Q
    from edge_monitor.node.scoring import Scores
    from edge_monitor.records import Vector


def answered(settings: Settings, operation: Operation[Q, A] | LongOperation[Q, P, A], request: Q) -> A:
    """Return the answer of the configuration's node, or of its daemon. Raises EdgeMonitorError."""
    from edge_monitor.api.client import finish, open_node
    from edge_monitor.node.operation import LongOperation

    with open_node(settings) as client:
        if isinstance(operation, LongOperation):
            return finish(client, operation, request)
        return client.call(operation, request)


@contextmanager
def sent(client: NodeClient, content: IO[bytes]) -> Iterator[str]:
    """Yield the file id that stands for `content` at the node during the body. Raises EdgeMonitorError."""
    file_id = client.send(content)
    try:
        yield file_id
    finally:
        with suppress(EdgeMonitorError):  # it goes by itself after a minute
            client.forget(file_id)


def fetched(client: NodeClient, file_id: str, path: Path) -> int:
    """Write a file that an answer named to `path`, all of it or nothing; return its bytes. Raises EdgeMonitorError.

    What is no plain file, as /dev/stdout, is written to as it is.
    """
    in_place = path.exists() and not path.is_file()
    fresh = path if in_place else path.resolve().with_name(f"{path.name}.new")
    size = 0
    try:
        with fresh.open("wb") as file:
            for piece in client.fetch(file_id):
                size += file.write(piece)
            if not in_place:
                file.flush()
                os.fsync(file.fileno())
        if not in_place:
            fresh.replace(path.resolve())
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        if not in_place:
            fresh.unlink(missing_ok=True)
        with suppress(EdgeMonitorError):
            client.forget(file_id)
    return size


def window_scores(client: NodeClient, machine: str, vectors: Sequence[Vector], bundle_hash: str) -> Scores:
    """Return the score of each raw vector, (dim,) float32, however many there are. Raises EdgeMonitorError."""
    from edge_monitor.node.operations import SCORE
    from edge_monitor.node.scoring import MOST_WINDOWS, Scores
    from edge_monitor.node.vectors import as_npy

    found = Scores(scores=(), learnt_hz=None)
    for first in range(0, len(vectors), MOST_WINDOWS):
        with sent(client, as_npy(vectors[first : first + MOST_WINDOWS])) as file:
            more = client.call(SCORE, SCORE.request(machine=machine, vectors=file, bundle_hash=bundle_hash))
        found = Scores(scores=found.scores + more.scores, learnt_hz=more.learnt_hz)
    return found


def tell(answer: object, lines: Iterable[str], *, as_json: bool, indent: int | None = None) -> None:
    """Print an answer: JSON for a program, on one line unless indented, or `lines` for a person."""
    for line in [to_json(answer, indent)] if as_json else lines:
        click.echo(line)


def say(text: str) -> None:
    """Print a line beside the answer, to standard error."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Print a line about what is wrong, which stops nothing, to standard error."""
    say(f"edge-monitor: {text}")


def to_json(answer: object, indent: int | None = None) -> str:
    """Return an answer as JSON; messages and records in it are objects of the fields that they have."""
    return json.dumps(answer, default=_fields, indent=indent)


def _fields(record: Any) -> object:  # noqa: ANN401 - whatever JSON does not know
    if hasattr(record, "model_dump_json"):
        return json.loads(record.model_dump_json(exclude_unset=True))
    return asdict(record)
