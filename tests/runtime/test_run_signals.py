"""What the plant says of its machines reaches them, and is not believed once it cannot be heard."""

from __future__ import annotations

from edge_monitor.config.machine import MachineSettings
from edge_monitor.runtime.run_signals import RunSignals
from tests.runtime.parts import PUMP


def test_machines_that_share_a_topic_hear_it_by_their_own_limits_until_the_connection_is_lost() -> None:
    """A speed of 500 means running for one and standing for the other; after an unclear payload the level decides."""
    slow, fast = (
        MachineSettings.model_validate(
            {
                "name": f"above-{limit:.0f}",
                "source": {"kind": "simulator"},
                "running": {"topic": "plant/speed", "running_above": limit},
            }
        )
        for limit in (100.0, 1000.0)
    )
    said: list[tuple[str, bool | None]] = []
    signals = RunSignals((slow, PUMP, fast), lambda machine, running: said.append((machine, running)))
    [(topic, take)] = signals.subscriptions().items()
    take(b"500", False)
    take(b"full speed ahead", False)
    assert said[2:] == [("above-100", None), ("above-1000", None)]
    del said[2:]
    signals.lost()
    assert topic == "plant/speed"
    assert said == [("above-100", True), ("above-1000", False), ("above-100", None), ("above-1000", None)]


def test_without_a_gate_the_last_word_stands() -> None:
    """An unclear payload would have a standing machine scored: there is no level to decide."""
    machine = MachineSettings.model_validate(
        {"name": "pump", "source": {"kind": "simulator"}, "running": {"topic": "plant/run", "gate": "off"}}
    )
    said: list[tuple[str, bool | None]] = []
    signals = RunSignals((machine,), lambda name, running: said.append((name, running)))
    [take] = signals.subscriptions().values()
    take(b"0", False)
    take(b"BAD", False)
    take(b"", False)
    assert said == [("pump", False)]
