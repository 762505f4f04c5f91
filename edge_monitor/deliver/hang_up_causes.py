"""Which message makes the broker hang up, where the protocol gives no reason (MQTT 3.1.1)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STRIKES = 5  # a restarting broker does not hang up this often on one message it got alone


class HangUpCauses:
    """After a hang-up messages go out one at a time; the one the broker hangs up on again and again is the cause."""

    def __init__(self) -> None:
        self.cautious = False  # True: one message in flight at a time
        self._strikes: Counter[int] = Counter()

    def hung_up(self, in_flight: Sequence[int]) -> int | None:
        """Note the rows in flight when the broker hung up; return the id of one that is to be parked."""
        convicted = None
        if self.cautious and len(in_flight) == 1:
            (row_id,) = in_flight
            self._strikes[row_id] += 1
            if self._strikes[row_id] >= STRIKES:
                convicted = row_id
        self.cautious = self.cautious or bool(in_flight)
        return convicted

    def clear(self) -> None:
        """Forget: the connection has been stable."""
        self.cautious = False
        self._strikes.clear()
