"""A daemon, its plant and a broker that fails in every way at once: the oracle must find nothing wrong."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

from edge_monitor.deliver.outbox import Outbox
from edge_monitor.store import database
from tests.broker import wait_until
from tests.faults.oracle import ALERT, BASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.oracle import Plant

    MakePlant = Callable[..., Plant]


def _status(running: Plant) -> dict[str, int]:
    messages = running.scada.on(f"{BASE}/status")
    return dict(json.loads(messages[-1].payload)) if messages else {}


def _dropped(status: dict[str, int]) -> int:
    return status.get("alerts_dropped", 0) + status.get("explanations_dropped", 0)


def test_a_broker_that_is_missing_then_frozen_then_restarted(plant: MakePlant) -> None:
    """Down at boot, up, half-open by SIGSTOP until that is noticed, restarted: every alert arrives, in order."""
    running = plant(secure=True, broker_starts=False)
    wait_until(lambda: running.product.rows("SELECT * FROM alarms"), 30.0, "an alarm while there is no broker")
    running.start_broker()
    running.wait_for_alarms(1, 60.0)
    running.broker.freeze()
    wait_until(lambda: not running.product.status()["mqtt"]["connected"], 60.0, "the freeze noticed")
    running.broker.thaw()
    running.broker.stop()
    running.broker.start()
    running.check(seconds=60.0)


def test_refused_messages_are_listed_sent_again_or_discarded(plant: MakePlant) -> None:
    """`edge-monitor outbox`: a message the broker denied is named with its reason, and goes out when a person asks."""
    running = plant()
    running.wait_for_alarms(1)
    running.stop()
    with closing(database.connect(running.product.state / database.FILE_NAME)) as connection:
        outbox = Outbox(connection)
        with database.transaction(connection):
            for seq in range(3):
                payload = json.dumps({"alarm_id": "a", "seq": seq, "event": "update"}).encode()
                outbox.enqueue(ALERT, payload, alarm_id="a", seq=seq, created_ms=0)
        with database.transaction(connection):
            for row in outbox.due(10):
                outbox.park(row.id, "refused by the broker: Not authorized")
    first, second, third = running.product.answer("outbox list")
    assert (first["topic"], first["seq"], first["reason"]) == (ALERT, 0, "refused by the broker: Not authorized")
    assert len(running.product.answer("outbox retry", "--all", "--dry-run")) == 3
    assert len(running.product.answer("outbox list")) == 3
    assert running.product.command("outbox retry", "999999").returncode == 1
    assert running.product.command("outbox discard").returncode == 2
    running.start()
    running.product.answer("outbox retry", str(first["id"]), str(third["id"]))
    assert [each["id"] for each in running.product.answer("outbox discard", "--all")] == [second["id"]]
    assert running.product.answer("outbox list") == []

    def arrived() -> list[int]:
        told = [json.loads(message.payload) for message in running.scada.on(ALERT)]
        return [each["seq"] for each in told if each["alarm_id"] == "a"]

    wait_until(lambda: arrived() == [0, 2], 20.0, "the messages sent again")


def test_losses_at_the_cap_are_published(plant: MakePlant) -> None:
    """No broker and an outbox of a hundred rows, almost full: what goes at the cap is counted to the row, and told."""
    running = plant(mqtt="outbox_max_rows = 100\n")
    running.wait_for_alarms(1)
    running.broker.stop()
    running.stop()
    with closing(database.connect(running.product.state / database.FILE_NAME)) as connection:
        outbox = Outbox(connection)
        with database.transaction(connection):
            for seq in range(99):
                payload = json.dumps({"alarm_id": "a", "seq": seq, "event": "update"}).encode()
                outbox.enqueue(ALERT, payload, alarm_id="a", seq=seq, created_ms=time.time_ns() // 1_000_000)
    running.start()
    wait_until(lambda: running.product.status()["mqtt"]["dropped"] >= 3, 60.0, "a loss")
    running.broker.start()
    wait_until(lambda: running.product.status()["mqtt"]["queued"] == 0, 60.0, "an empty outbox")
    [(dropped,)] = running.product.rows("SELECT value FROM counters WHERE name = 'outbox_dropped'")
    assert dropped >= 3
    wait_until(lambda: _dropped(_status(running)) == dropped, 30.0, "the loss in the node's status")
    running.check(dropped=dropped)
    told = [json.loads(message.payload) for message in running.scada.on(ALERT)]
    kept = [each["seq"] for each in told if each["alarm_id"] == "a"]
    assert kept == list(range(99 - len(kept), 99))  # the oldest went
