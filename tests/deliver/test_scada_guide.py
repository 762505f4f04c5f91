"""docs/scada.md: what an integrator copies from it works."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

from edge_monitor.records import MachineState
from tests.broker import Broker, Subscriber, wait_until
from tests.deliver.node import TOPICS, Node

GUIDE = (Path(__file__).parents[2] / "docs/scada.md").read_text(encoding="utf-8")


def _example(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[0]
    return str(found)


def test_the_state_table_is_the_code() -> None:
    """Every state with its number stands in the table, and no other."""
    rows = re.findall(r"^\| (\d+) \| ([a-z-]+) \|", GUIDE, re.MULTILINE)
    assert [(int(code), label) for code, label in rows] == [(int(state), state.label) for state in MachineState]


def test_the_telegraf_example_subscribes_to_what_is_published() -> None:
    """It is valid TOML, and its subscriptions match the state, score and alert topics."""
    (consumer,) = tomllib.loads(_example("toml"))["inputs"]["mqtt_consumer"]
    published = {TOPICS.state("pump-3"), TOPICS.score("pump-3"), TOPICS.alert("pump-3")}
    patterns = [re.compile(topic.replace("+", "[^/]+")) for topic in consumer["topics"]]
    assert {topic for topic in published for pattern in patterns if pattern.fullmatch(topic)} == published


def test_the_node_red_flow_can_be_imported() -> None:
    """It is valid JSON, and its wires lead to nodes that exist."""
    flow = json.loads(_example("json"))
    wires = {target for node in flow for output in node.get("wires", []) for target in output}
    assert wires <= {node["id"] for node in flow}
    assert [node["topic"] for node in flow if node["type"] == "mqtt in"] == ["edge-monitor/v1/+/+/+/alert"]


def test_the_acl_lets_a_node_speak_for_itself_only(tmp_path: Path) -> None:
    """With the example a node publishes below its own name, is refused elsewhere, and SCADA reads everything."""
    (tmp_path / "acl").write_text(_example("conf"))
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    for user in ("edge-01", "edge-02", "scada"):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, "secret"], check=True)
    closed = ("allow_anonymous false", f"password_file {passwords}", f"acl_file {tmp_path / 'acl'}")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    with (
        Broker(tmp_path, *closed) as broker,
        Subscriber(broker.port, username="scada", password="secret") as scada,  # noqa: S106 - a test's
        Node(tmp_path, broker.port, username="edge-01", password="secret") as node,  # noqa: S106 - a test's
        Node(stranger, broker.port, username="edge-02", password="secret") as impostor,  # noqa: S106 - a test's
    ):
        node.commit(("pump-3", 0, b'{"genuine":1}'))
        impostor.commit(("pump-3", 0, b'{"genuine":0}'))
        wait_until(lambda: node.counts().sent == 1)
        wait_until(lambda: impostor.counts().parked == 1)
        assert [message.payload for message in scada.wait_for(TOPICS.alert("pump-3"))] == [b'{"genuine":1}']
