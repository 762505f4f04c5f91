"""Does what is asked in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edge_monitor.node.files import PIECE_BYTES
from edge_monitor.node.operation import Message

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import IO

    from edge_monitor.node.node import Node
    from edge_monitor.node.operation import LongOperation, Operation

Q = TypeVar("Q", bound=Message)
P = TypeVar("P", bound=Message)
A = TypeVar("A", bound=Message)


class LocalClient:
    """Does what is asked in this process, which holds the state directory's lock."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def call(self, operation: Operation[Q, A], request: Q) -> A:
        """Do it."""
        with self._node.state_dir.as_owner():
            return operation.run(self._node, request)

    def follow(self, operation: LongOperation[Q, P, A], request: Q) -> Generator[P, None, A]:
        """Do it step by step."""
        with self._node.state_dir.as_owner():
            return (yield from operation.run(self._node, request, lambda: False))

    def send(self, content: IO[bytes]) -> str:
        """Take it over as it is."""
        with self._node.state_dir.as_owner():
            file_id, offset = self._node.files.create(), 0
            while piece := content.read(PIECE_BYTES):
                self._node.files.append(file_id, offset, piece)
                offset += len(piece)
            return file_id

    def fetch(self, file_id: str) -> Iterator[bytes]:
        """Yield the pieces."""
        offset = 0
        while piece := self._node.files.piece(file_id, offset):
            yield piece
            offset += len(piece)

    def forget(self, file_id: str) -> None:
        """Let it go."""
        self._node.files.forget(file_id)
