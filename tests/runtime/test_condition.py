"""The condition as the plant sees it: changed, then an alarm under the same id, over kills and restarts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.broker import Broker, Subscriber, wait_until
from tests.runtime.test_end_to_end import BASE, check_contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.product import Product

    Make = Callable[..., Product]

# A threshold that no sound reaches: what is heard is by the low line alone. Ten windows are the hour, thirty the three
# hours: 8 and 24 of them above the line.
RULES = """[machine.alarm]
threshold = 1e6
threshold_generation = 1
changed_after_s = 100
alarm_after_s = 300
off_delay_s = 0
update_interval_s = 60
"""
HEALTHY = '{{ kind = "simulator", machine = "pump", take = 2, pace = {pace} }}'
FAULTY = '{{ kind = "simulator", machine = "pump", take = 1, fault = "rattle", fault_at_s = 0, pace = {pace} }}'
PATIENCE_S = 90.0


def told(scada: Subscriber, kind: str) -> list[dict[str, Any]]:
    """Return what has arrived on a topic of the pump, in order."""
    return [json.loads(message.payload) for message in scada.on(f"{BASE}/pump/{kind}")]


def wait_for(scada: Subscriber, kind: str, count: int) -> list[dict[str, Any]]:
    """Return what has arrived once there is so much."""
    wait_until(lambda: len(told(scada, kind)) >= count, PATIENCE_S, f"{count} on {kind}")
    return told(scada, kind)


@pytest.mark.timeout(300)
def test_changed_becomes_an_alarm_and_ends_under_one_id(enrolled: Make, tmp_path: Path) -> None:
    """State, condition, alert, explanation, evidence and lists agree at each level; all messages keep the contract."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(FAULTY.format(pace=20), mqtt_port=broker.port, extra=RULES)
        with product.daemon() as daemon:
            [start] = wait_for(scada, "condition", 1)
            episode = start["episode_id"]
            assert (start["event"], start["condition"], start["seq"], start["persisted"]) == ("start", 2, 0, 1)
            assert (start["windows"], start["windows_of"]) == (8, 10)
            assert start["times_line"] > 1.0 > start["ratio"]
            wait_until(lambda: told(scada, "state")[-1]["condition"] == 2, 10.0, "condition 2")
            state = told(scada, "state")[-1]
            assert (state["state"], state["alarm"], state.get("alarm_id"), state["episode_id"]) == (
                "normal",
                0,
                None,
                episode,
            )
            [alert] = wait_for(scada, "alert", 1)
            assert (alert["alarm_id"], alert["event"], alert["seq"]) == (episode, "start", 0)
            raised = wait_for(scada, "condition", 2)[1]
            assert (raised["event"], raised["condition"], raised["episode_id"]) == ("raised", 3, episode)
            explanation = wait_for(scada, "explanation", 1)[0]
            assert (explanation["alarm_id"], explanation["status"]) == (episode, "ok")
            wait_until(lambda: told(scada, "state")[-1]["alarm"] == 1, 10.0, "the alarm in the state")
            daemon.kill()
        product.source = HEALTHY.format(pace=20)
        with product.daemon() as daemon:
            wait_until(lambda: told(scada, "state")[-1]["alarm"] == 1, 30.0, "the restored alarm")
            ended = wait_for(scada, "condition", 3)[2]
            assert (ended["event"], ended["condition"], ended["seq"], ended["episode_id"]) == ("end", 1, 2, episode)
            wait_until(lambda: told(scada, "state")[-1]["condition"] == 1, 10.0, "condition 1")
            assert daemon.stop() == 0
        alerts = told(scada, "alert")
        check_contract(scada.messages)
    assert [each["seq"] for each in alerts] == list(range(len(alerts)))
    assert (alerts[-1]["event"], {each["alarm_id"] for each in alerts}) == ("end", {episode})
    [listed] = product.answer("alarms list")
    assert (listed["alarm_id"], listed["kind"], listed["active"]) == (episode, "changed", False)
    assert listed["started"] < listed["raised"] < listed["ended"]
    shown = product.answer("alarms show", episode)
    assert list(shown["evidence"]) == ["picture"]
    assert product.intact()


@pytest.mark.timeout(300)
def test_a_kill_at_level_2_keeps_episode_and_memory(enrolled: Make, tmp_path: Path) -> None:
    """The alarm comes after the three hours that were heard before and after, not after three more."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as scada:
        product = enrolled(FAULTY.format(pace=3), mqtt_port=broker.port, extra=RULES)
        with product.daemon() as daemon:
            [start] = wait_for(scada, "condition", 1)
            stored = "SELECT coalesce(sum(above), 0) FROM score_minutes"
            wait_until(lambda: product.rows(stored)[0][0] >= 8, PATIENCE_S, "the memory on disk")
            daemon.kill()
        [(before,)] = product.rows(stored)
        product.source = FAULTY.format(pace=20)
        with product.daemon() as daemon:
            wait_until(
                lambda: product.answer("status")["machines"][0]["condition"] == 2, 30.0, "the restored condition"
            )
            [alert] = wait_for(scada, "alert", 1)
            assert daemon.stop() == 0
    assert (alert["alarm_id"], alert["event"]) == (start["episode_id"], "start")
    # With ten windows a 100 s, the rest of 24 takes so long; from nothing it would be 240 s.
    assert alert["window_end_s"] <= (24 - before + 2) * 10.0
    assert product.rows("SELECT count(*) FROM alarms") == [(1,)]


@pytest.mark.timeout(300)
def test_an_episode_can_be_rejected_and_its_sound_becomes_normal(enrolled: Make) -> None:
    """Its windows are spread over its memory; the next generation's line lies above them, and the episode ends."""
    product = enrolled(FAULTY.format(pace=20), extra=RULES)
    with product.daemon() as daemon:
        wait_until(lambda: product.rows("SELECT 1 FROM alarms WHERE kind = 'changed'"), PATIENCE_S, "an episode")
        [episode] = product.answer("alarms list")
        assert (episode["raised"], episode["events"]) == (None, 0)
        assert "changed" in product.command("alarms list").stdout
        assert episode["windows"] >= 8
        answer = product.answer("alarms reject", episode["alarm_id"], "--add-normal")
        assert answer["generation"] == 2
        assert answer["normals"] >= 8
        assert daemon.stop() == 0
    assert product.answer("alarms show", episode["alarm_id"])["rejected"] is not None


def test_an_orderly_restart_loses_nothing_of_the_memory(enrolled: Make) -> None:
    """Every window that counted before counts after."""
    product = enrolled(FAULTY.format(pace=20), extra=RULES)
    with product.daemon() as daemon:
        wait_until(lambda: product.status()["machines"][0]["windows"] > 40, PATIENCE_S, "five disjoint windows")
        assert daemon.stop() == 0
    [(compared, above)] = product.rows("SELECT sum(compared), sum(above) FROM score_minutes")
    assert above == compared >= 4
    assert product.rows("SELECT count(*) FROM alarms") == [(0,)]
