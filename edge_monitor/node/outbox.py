"""Messages the broker refused: listed, sent again, or discarded by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from edge_monitor import clock
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.errors import StorageError
from edge_monitor.node.operation import Message, Nothing

if TYPE_CHECKING:
    from edge_monitor.node.node import Node


class ParkedMessage(Message):
    """A message that was set aside."""

    id: int
    topic: str
    alarm_id: str
    seq: int
    created: str  # RFC 3339
    bytes: int
    reason: str


class ParkedMessages(Message):
    """Messages that were set aside, oldest first."""

    messages: tuple[ParkedMessage, ...]


class ChooseMessages(Message):
    """Which of them."""

    ids: tuple[Annotated[int, Field(ge=1, lt=1 << 63)], ...]  # none: all
    dry_run: bool = False


def list_parked(node: Node, _request: Nothing) -> ParkedMessages:
    """Return what was set aside, oldest first."""
    with node.reading() as connection:
        rows = Outbox(connection).parked()
    return ParkedMessages(
        messages=tuple(
            ParkedMessage.like(each, created=clock.rfc3339(each.created_ms), bytes=each.size_bytes) for each in rows
        )
    )


def retry_parked(node: Node, request: ChooseMessages) -> ParkedMessages:
    """Queue parked messages again, with their bytes; return them."""
    chosen = _chosen(node, request)
    if not request.dry_run:
        node.store.in_pieces([each.id for each in chosen.messages], lambda to, piece: Outbox(to).retry(piece))
        node.running.outbox_changed()
    return chosen


def discard_parked(node: Node, request: ChooseMessages) -> ParkedMessages:
    """Delete parked messages; return them."""
    chosen = _chosen(node, request)
    if not request.dry_run:
        node.store.in_pieces([each.id for each in chosen.messages], lambda to, piece: Outbox(to).discard(piece))
    return chosen


def _chosen(node: Node, request: ChooseMessages) -> ParkedMessages:
    parked = list_parked(node, Nothing())
    if unknown := sorted(set(request.ids) - {each.id for each in parked.messages}):
        raise StorageError(
            f"no parked message has the number {unknown[0]}", hint="`edge-monitor outbox list` shows them"
        )
    return ParkedMessages(messages=tuple(each for each in parked.messages if not request.ids or each.id in request.ids))
