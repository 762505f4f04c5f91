"""How a command reaches a node: through the daemon when it runs, else alone, under the state directory's lock."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from edge_monitor.api import control
from edge_monitor.errors import StorageError
from edge_monitor.node.node import Node
from edge_monitor.node.operations import answer
from edge_monitor.store.state_dir import PRIVATE_UMASK, StateDir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import Settings


class Ask(Protocol):
    """Asks a node for a verb; the answer's items come as they are made. Raises EdgeMonitorError."""

    def __call__(self, verb: str, **arguments: Any) -> Iterator[dict[str, Any]]: ...  # noqa: ANN401, D102 - any JSON type


@contextmanager
def open_node(settings: Settings) -> Iterator[Ask]:
    """Yield the way to ask this configuration's node.

    Raises StorageError when the state directory cannot be used, ControlError when the daemon may not be asked.
    """
    state_dir = StateDir.of(settings.node)
    path = state_dir.control_socket
    first = control.connect(path)
    if first is not None:
        first.close()

        def ask_daemon(verb: str, **arguments: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON type
            connection = control.connect(path)
            if connection is None:
                raise control.gone()
            return control.ask(connection, verb, arguments)

        yield ask_daemon
        return
    with _alone(state_dir, settings) as node:

        def ask_alone(verb: str, **arguments: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON type
            with state_dir.as_owner():
                yield from answer(node, verb, arguments)

        yield ask_alone


@contextmanager
def open_stopped(settings: Settings) -> Iterator[Node]:
    """Yield this configuration's node while no daemon runs, and none can start; root works as the directory's owner.

    Raises StorageError when a daemon runs, or the state directory cannot be used.
    """
    state_dir = StateDir.of(settings.node)
    connection = control.connect(state_dir.control_socket)
    if connection is not None:
        connection.close()
        raise StorageError(
            "the daemon runs", where=str(state_dir.path), hint="stop it first: `systemctl stop edge-monitor`"
        )
    with _alone(state_dir, settings) as node, state_dir.as_owner():
        yield node


@contextmanager
def look_at_node(settings: Settings) -> Iterator[Node]:
    """Yield this configuration's node to be looked at, whether a daemon runs or not; root works as its owner."""
    state_dir = StateDir.of(settings.node)
    os.umask(PRIVATE_UMASK)
    state_dir.create()
    with state_dir.as_owner():
        node = Node(settings, writes=False)
        with node.store:
            yield node


@contextmanager
def _alone(state_dir: StateDir, settings: Settings) -> Iterator[Node]:
    os.umask(PRIVATE_UMASK)
    state_dir.create()
    with ExitStack() as stack:
        with state_dir.as_owner():
            stack.enter_context(state_dir.lock())
        node = Node(settings)
        stack.callback(_close, node, state_dir)
        yield node


def _close(node: Node, state_dir: StateDir) -> None:
    """Close the database as whoever owns it."""
    with state_dir.as_owner():
        node.store.close()


def last(items: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return the last item of an answer, which sums it up."""
    item: dict[str, Any] = {}
    for item in items:  # noqa: B007 - only the last one counts
        pass
    return item
