"""The run topic of a machine: one topic of the plant, whole and as the plant writes it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge_monitor.config.machine import GateSettings


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("plant/+/run", "name one topic, without"),
        ("plant/#", "name one topic, without"),
        ("plant/pump/run ", "has blanks before or after it"),
        ("\tplant/pump/run", "has blanks before or after it"),
        ("$share/monitors/plant/pump/run", "those with \\$ are the broker's own"),
        ("$SYS/broker/uptime", "those with \\$ are the broker's own"),
    ],
)
def test_a_topic_that_would_never_speak_or_to_one_subscriber_only_is_refused(topic: str, why: str) -> None:
    """Whoever names it would take a machine that was never heard of for one that runs."""
    with pytest.raises(ValidationError, match=why):
        GateSettings(topic=topic)


def test_a_topic_may_have_blanks_and_signs_within() -> None:
    """As PLC gateways write them."""
    assert GateSettings(topic="Halle 3/Pumpe $7/läuft").topic == "Halle 3/Pumpe $7/läuft"
