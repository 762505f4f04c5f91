"""The oracle itself: it passes where nothing is wrong, and fails where something is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.faults.ledger import Committed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.oracle import Plant

    MakePlant = Callable[..., Plant]


def test_a_killed_daemon_keeps_every_promise(plant: MakePlant) -> None:
    """Over TLS, with passwords: a daemon killed and started again, a broker restarted, and everything holds."""
    running = plant(secure=True)
    running.wait_for_alarms(1)
    running.kill()
    running.start()
    running.broker.stop()
    running.broker.start()
    running.check()
    running.stop()


def test_the_oracle_notices_what_is_lost_changed_or_told_too_early(plant: MakePlant) -> None:
    """A promise that never arrives, other bytes, and an alert that was not on disk are each noticed."""
    running = plant()
    running.wait_for_alarms(2)
    running.stop()
    promised = running.committed()
    running.check_delivery(promised)
    row = promised[0]
    lost = Committed(row.id, row.topic, "another alarm", 0, b"{}")
    with pytest.raises(AssertionError, match="delivery of all that is committed"):
        running.check_delivery([*promised, lost], seconds=1.0)
    first = next(message for message in running.scada.messages if message.payload == row.payload)
    running.scada.messages.append(replace(first, payload=row.payload + b" "))
    with pytest.raises(AssertionError, match="other bytes"):
        running.check_delivery(promised)
    changed = row.payload.replace(row.alarm_id.encode(), b"00000000-0000-4000-8000-000000000000")
    running.scada.messages[-1] = replace(first, payload=changed)
    with pytest.raises(AssertionError, match="told before it was on disk"):
        running.check_delivery(promised)
