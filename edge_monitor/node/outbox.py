"""Messages the broker refused: listed, sent again, or discarded by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.deliver.outbox import ParkedRow
    from edge_monitor.node.node import Node

    Answer = Iterator[dict[str, Any]]


def parked(node: Node) -> Answer:
    """Yield what was set aside, oldest first."""
    with node.reading() as connection:
        rows = Outbox(connection).parked()
    for row in rows:
        yield _describe(row)


def retry(node: Node, *, ids: Sequence[int], dry_run: bool) -> Answer:
    """Queue parked messages again (no ids: all of them), with their bytes; yield each. Raises StorageError."""
    chosen = list(_chosen(node, ids))
    yield from chosen
    if not dry_run:
        node.store.in_pieces([each["id"] for each in chosen], lambda to, piece: Outbox(to).retry(piece))
        node.running.outbox_changed()


def discard(node: Node, *, ids: Sequence[int], dry_run: bool) -> Answer:
    """Delete parked messages (no ids: all of them); yield each. Raises StorageError."""
    chosen = list(_chosen(node, ids))
    yield from chosen
    if not dry_run:
        node.store.in_pieces([each["id"] for each in chosen], lambda to, piece: Outbox(to).discard(piece))


def _chosen(node: Node, ids: Sequence[int]) -> Answer:
    known = {each["id"]: each for each in parked(node)}
    if unknown := sorted(set(ids) - set(known)):
        raise StorageError(
            f"no parked message has the number {unknown[0]}", hint="`edge-monitor outbox list` shows them"
        )
    yield from (known[number] for number in ids or known)


def _describe(parked_row: ParkedRow) -> dict[str, Any]:
    row = parked_row.row
    return {
        "id": row.id,
        "topic": row.topic,
        "alarm_id": row.alarm_id,
        "seq": row.seq,
        "created": clock.rfc3339(row.created_ms),
        "bytes": len(row.payload),
        "reason": parked_row.reason,
    }
