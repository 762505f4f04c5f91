"""How a command reaches a node: through the daemon when it runs, else alone, under the state directory's lock."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from edge_monitor.api.daemon_client import DaemonClient, daemon_at, is_daemon_at
from edge_monitor.errors import StateDirInUseError, StorageError
from edge_monitor.node.files import PIECE_BYTES
from edge_monitor.node.node import Node
from edge_monitor.store.state_dir import PRIVATE_UMASK, StateDir

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import IO

    from edge_monitor.config.settings import Settings
    from edge_monitor.node.operation import A, LongOperation, Operation, P, Q

_RELOADING_S = 5.0  # a daemon that takes up another configuration holds the directory, and listens again soon
_AGAIN_S = 0.2  # a daemon that is being reloaded is asked once more after this time


class LocalClient:
    """Does what is asked in this process, which holds the state directory's lock."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def call(self, operation: Operation[Q, A], request: Q) -> A:
        """Return the answer to an operation that answers at once."""
        with self._node.state_dir.as_owner():
            return operation.run(self._node, request)

    def follow(self, operation: LongOperation[Q, P, A], request: Q) -> Generator[P, None, A]:
        """Yield the progress of a long operation and return its answer; closed before, the operation is cancelled."""
        with self._node.state_dir.as_owner():
            return (yield from operation.run(self._node, request, lambda: False))

    def send(self, content: IO[bytes]) -> str:
        """Take over a large part of a request; return the file id that stands for it."""
        with self._node.state_dir.as_owner():
            file_id, offset = self._node.files.create(), 0
            while piece := content.read(PIECE_BYTES):
                self._node.files.append(file_id, offset, piece)
                offset += len(piece)
            return file_id

    def fetch(self, file_id: str) -> Iterator[bytes]:
        """Yield the pieces of a file that an answer named."""
        offset = 0
        while piece := self._node.files.piece(file_id, offset):
            yield piece
            offset += len(piece)

    def forget(self, file_id: str) -> None:
        """Let a file go that is not needed any more."""
        self._node.files.forget(file_id)


NodeClient = DaemonClient | LocalClient  # both ask a node the same way; everything raises EdgeMonitorError


def finish(
    client: NodeClient,
    operation: LongOperation[Q, P, A],
    request: Q,
    tell: Callable[[P], object] = lambda _progress: None,
) -> A:
    """Return the answer of a long operation; its progress is told as it comes. Raises EdgeMonitorError."""
    with closing(client.follow(operation, request)) as steps:
        while True:
            try:
                tell(next(steps))
            except StopIteration as end:
                answer: A = end.value
                return answer


@contextmanager
def open_node(settings: Settings) -> Iterator[NodeClient]:
    """Yield the way to ask this configuration's node.

    Raises StorageError when the state directory cannot be used, ControlError when the daemon may not be asked.
    """
    state_dir, end_s = StateDir.of(settings.node), time.monotonic() + _RELOADING_S
    with ExitStack() as stack:
        while True:
            daemon = stack.enter_context(daemon_at(state_dir.control_socket))
            try:
                client = daemon or LocalClient(stack.enter_context(_alone(state_dir, settings)))
            except StateDirInUseError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(_AGAIN_S)
            else:
                break
        yield client


@contextmanager
def open_stopped(settings: Settings) -> Iterator[Node]:
    """Yield this configuration's node while no daemon runs, and none can start; root works as the directory's owner.

    Raises StorageError when a daemon runs, or the state directory cannot be used.
    """
    state_dir = StateDir.of(settings.node)
    if is_daemon_at(state_dir.control_socket):
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
        try:
            yield node
        finally:
            with state_dir.as_owner():  # the database is closed as whoever owns it
                node.store.close()
                node.files.close()
