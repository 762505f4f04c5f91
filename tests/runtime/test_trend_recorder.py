"""The plant is told where scores go: once, retained, and again when something has changed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge_monitor.pipeline.score_rollups import roll_up
from edge_monitor.runtime import trend_recorder
from tests.broker import Broker, Subscriber, wait_until
from tests.cli.test_trend import grown
from tests.explained import BASE, inside
from tests.runtime.test_end_to_end import check_contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.product import Product

TREND = f"{BASE}/pump/trend"


def test_a_daemon_rolls_up_and_tells_a_rise_until_it_changes(
    enrolled: Callable[..., Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it looks, no two messages in a row say the same; whoever subscribes later gets the last one."""
    monkeypatch.setattr(trend_recorder, "FIRST_S", 0.05)
    monkeypatch.setattr(trend_recorder, "EVERY_S", 0.05)
    looks: list[int] = []
    monkeypatch.setattr(trend_recorder, "roll_up", lambda *given: looks.append(roll_up(*given)))
    with Broker(tmp_path) as broker, Subscriber(broker.port, TREND) as scada:
        product = enrolled(mqtt_port=broker.port)
        grown(product)
        with inside(product.config):
            scada.wait_for(TREND)
            seen = len(looks)
            wait_until(lambda: len(looks) > seen + 20, 20.0, "twenty more looks")
        with Subscriber(broker.port, TREND) as late:
            [retained] = late.wait_for(TREND)
    check_contract(scada.messages)
    told: list[dict[str, Any]] = [json.loads(message.payload) for message in scada.messages]
    assert retained.payload == scada.messages[-1].payload
    assert (told[0]["rising"], told[0]["hours_direction"], told[0]["days_direction"]) == (1, "rising", "steady")
    assert told[0]["text"].startswith("Cooling pump: rising since ")
    said = [{name: value for name, value in each.items() if name not in {"at", "at_ms"}} for each in told]
    assert all(one != other for one, other in pairwise(said))
    assert product.rows("SELECT count(*) > 0 FROM score_rollups") == [(1,)]
