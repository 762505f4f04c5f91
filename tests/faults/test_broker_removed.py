"""A machine that is removed from the configuration: the plant must not go on believing in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.broker import Subscriber, wait_until
from tests.faults.oracle import ALERT, BASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.oracle import Plant

STATE, TREND = f"{BASE}/pump/state", f"{BASE}/pump/trend"
LASTING = "[machine.alarm]\noff_delay_s = 100000\npriority = 1"


def test_a_removed_machine_leaves_no_alarm_no_state_and_no_trend(plant: Callable[..., Plant]) -> None:
    """Its active alarm ends with the reason, its retained state goes, and a later start has nothing left to do."""
    running = plant(extra=LASTING)
    running.wait_for_alarms(1)
    running.stop()
    running.product.machine = "fan"
    running.start()
    wait_until(lambda: running.scada.messages and running.scada.on(STATE)[-1].payload == b"", 10.0, "the state cleared")
    running.check_delivery(running.committed())
    end = json.loads(running.scada.on(ALERT)[-1].payload)
    told = {key: end[key] for key in ("event", "alarm", "priority", "display_name", "reason")}
    assert told == {
        "event": "end",
        "alarm": 0,
        "priority": 1,
        "display_name": "Cooling pump",
        "reason": "machine removed from the configuration",
    }
    wait_until(lambda: running.product.rows("SELECT name FROM machines") == [("fan",)])
    assert [message.payload for message in running.scada.on(TREND)] == [b""]
    assert running.product.rows("SELECT machine FROM alarms WHERE ended_ms IS NULL") == []
    running.check_state_dir(running.committed())
    with Subscriber(running.broker.port, STATE) as late:
        running.stop()
        running.start()
        wait_until(lambda: json.loads(running.scada.on(f"{BASE}/status")[-1].payload)["online"] == 1)
        assert late.messages == []


def test_a_machine_removed_while_the_broker_is_away_is_cleared_when_it_is_back(plant: Callable[..., Plant]) -> None:
    """The state goes once there is a broker, even if the node was started twice before."""
    running = plant(extra=LASTING)
    running.wait_for_alarms(1)
    running.broker.stop()
    running.stop()
    running.product.machine = "fan"
    running.start()
    running.stop()
    running.start()
    running.broker.start()
    wait_until(lambda: running.scada.on(STATE)[-1].payload == b"", 15.0, "the state cleared")
    wait_until(lambda: running.product.rows("SELECT name FROM machines") == [("fan",)])
    running.check_delivery(running.committed())
