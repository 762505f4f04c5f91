"""Where the publisher is in the outbox: it reads each row once, a page at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.deliver.outbox import OutboxPort, OutboxRow

PAGE_ROWS = 256  # rows held in memory at most
_IDLE_S = 1.0  # a missed wake-up costs no more than this


class OutboxReader:
    """Reads on when rows were committed, when there is room, and once a second."""

    def __init__(self, outbox: OutboxPort) -> None:
        self.behind = True  # there may be rows that were not read
        self._outbox = outbox
        self._cursor = 0  # id of the last row read
        self._looked_s = 0.0

    def read(self, waiting: int, *, committed: bool) -> Sequence[OutboxRow]:
        """Return rows that come next while `waiting` others are held; raises what the outbox raises."""
        now_s = time.monotonic()
        if not (self.behind or committed or now_s - self._looked_s > _IDLE_S):
            return ()
        room = PAGE_ROWS - waiting
        if room < PAGE_ROWS // 2:
            self.behind = True
            return ()
        self.behind, self._looked_s = False, now_s  # an outbox that cannot be read is tried again in a while
        rows = self._outbox.due(room, self._cursor)
        self.behind = len(rows) == room
        if rows:
            self._cursor = rows[-1].id
        return rows
