"""What is asked of a node whose backup is made or restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.store.database_files import RESTORING, SNAPSHOT

if TYPE_CHECKING:
    from tests.product import Product

CONTENT = (
    "SELECT name, sha256, hex(vector), start_s FROM normals JOIN recordings ON recordings.id = recording_id"
    " ORDER BY normals.id"
)


def unfinished(product: Product) -> list[str]:
    """Return what is left of the making of backups and restores."""
    return [path.name for mark in (SNAPSHOT, RESTORING) for path in product.state.glob(f"*{mark}*")]
