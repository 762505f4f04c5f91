"""The topic tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_monitor.deliver.topics import Topics
from edge_monitor.errors import ConfigError

TOPICS = Topics("edge-monitor/v1", "plant-7", "edge-01")


def test_the_tree_is_the_contract() -> None:
    """Every topic of contract v1 is where the documents say."""
    assert TOPICS.status == "edge-monitor/v1/plant-7/edge-01/status"
    assert TOPICS.state("pump-3") == "edge-monitor/v1/plant-7/edge-01/pump-3/state"
    assert TOPICS.score("pump-3") == "edge-monitor/v1/plant-7/edge-01/pump-3/score"
    assert TOPICS.alert("pump-3") == "edge-monitor/v1/plant-7/edge-01/pump-3/alert"
    assert TOPICS.explanation("pump-3") == "edge-monitor/v1/plant-7/edge-01/pump-3/explanation"
    assert TOPICS.command("inhibit") == "edge-monitor/v1/plant-7/edge-01/command/inhibit"
    assert TOPICS.command_reply == "edge-monitor/v1/plant-7/edge-01/command/reply"


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "$SYS", "pump 3", "pump\n", "ä", "x" * 65])
def test_a_name_that_is_no_segment_is_refused(name: str) -> None:
    """Wildcards, separators, spaces, non-ASCII, empty and over-long names never reach a broker."""
    with pytest.raises(ConfigError, match="cannot be a topic segment"):
        Topics("edge-monitor/v1", name, "edge-01")
    with pytest.raises(ConfigError, match="cannot be a topic segment"):
        TOPICS.alert(name)


@pytest.mark.parametrize("prefix", ["", "/v1", "v1/", "a//b", "a/#"])
def test_a_prefix_with_an_empty_or_wild_level_is_refused(prefix: str) -> None:
    """Each level of the prefix obeys the same rule."""
    with pytest.raises(ConfigError):
        Topics(prefix, "plant-7", "edge-01")


@pytest.mark.parametrize("name", ["command", "status"])
def test_a_machine_cannot_take_the_nodes_own_branches(name: str) -> None:
    """A machine named like a branch of the node would receive or forge the node's messages."""
    with pytest.raises(ConfigError, match="a machine cannot be named"):
        TOPICS.state(name)


@given(st.text(max_size=80))
def test_every_name_is_either_refused_or_one_level(name: str) -> None:
    """Whatever the name, the topic has exactly six levels and no wildcard."""
    try:
        topic = TOPICS.alert(name)
    except ConfigError:
        return
    assert topic.count("/") == 5
    assert not set(topic) & set("+#\0 ")
