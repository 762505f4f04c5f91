"""Messages the broker refused: listed, sent again, or discarded by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_monitor import clock
from edge_monitor.deliver.outbox import Outbox
from edge_monitor.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_monitor.deliver.outbox import ParkedRow
    from edge_monitor.service.node import Node

    Answer = Iterator[dict[str, Any]]


def parked(node: Node) -> Answer:
    """Yield what was set aside, oldest first."""
    with node.database() as connection:
        rows = Outbox(connection).parked()
    for row in rows:
        yield _describe(row)


def retry(node: Node, *, ids: Sequence[int], dry_run: bool) -> Answer:
    """Queue parked messages again (no ids: all of them), with their bytes; yield each. Raises StorageError."""
    yield from _chosen(node, ids)
    if not dry_run:
        node.commit(lambda connection: Outbox(connection).retry(ids or _all(Outbox(connection))))
        node.outbox_changed()


def discard(node: Node, *, ids: Sequence[int], dry_run: bool) -> Answer:
    """Delete parked messages (no ids: all of them); yield each. Raises StorageError."""
    yield from _chosen(node, ids)
    if not dry_run:
        node.commit(lambda connection: Outbox(connection).discard(ids or _all(Outbox(connection))))


def _chosen(node: Node, ids: Sequence[int]) -> Answer:
    known = {each["id"]: each for each in parked(node)}
    if unknown := sorted(set(ids) - set(known)):
        raise StorageError(
            f"no parked message has the number {unknown[0]}", hint="`edge-monitor outbox list` shows them"
        )
    yield from (known[number] for number in ids or known)


def _all(outbox: Outbox) -> list[int]:
    return [each.row.id for each in outbox.parked()]


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
