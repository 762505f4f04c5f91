"""Figures for Prometheus: off unless asked for, on the loopback alone, with names that stay."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.broker import Broker, free_port, wait_until
from tests.enrolled import IDLE
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prometheus_client.samples import Sample

    Make = Callable[..., Product]

FAST = '{ kind = "simulator", machine = "pump", take = 1, pace = 30 }'
OF_THE_NODE = """
edge_monitor_alarms_not_stored_total edge_monitor_score_minutes_lost_total edge_monitor_evidence_lost_total
edge_monitor_log_lines_dropped_total
edge_monitor_explanations_dropped_total edge_monitor_explanations_parked_total
edge_monitor_explanations_queued
edge_monitor_broker_connected edge_monitor_clock_steps_total edge_monitor_clock_synced edge_monitor_connections_total
edge_monitor_encoder_seconds_bucket edge_monitor_encoder_seconds_count edge_monitor_encoder_seconds_sum
edge_monitor_explanations_ok_total edge_monitor_explanations_unavailable_total edge_monitor_explanations_waiting
edge_monitor_frames_dropped_total edge_monitor_outbox_dropped_total edge_monitor_outbox_oldest_seconds
edge_monitor_outbox_parked_total edge_monitor_outbox_rows edge_monitor_publish_errors_total
edge_monitor_resident_memory_bytes edge_monitor_storage_fault edge_monitor_thread_restarts_total
edge_monitor_uptime_seconds edge_monitor_windows_dropped_total
"""
OF_A_MACHINE = """
edge_monitor_alarm edge_monitor_condition edge_monitor_heard_ago_seconds edge_monitor_level_dbfs edge_monitor_score
edge_monitor_state_code edge_monitor_threshold edge_monitor_windows_total
"""


def scrape(port: int) -> dict[str, Sample]:
    """Return the samples of one scrape by name; of a histogram's buckets the widest."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        families = text_string_to_metric_families(answer.read().decode())
        return {sample.name: sample for family in families for sample in family.samples}


def refused(address: str, port: int) -> bool:
    """Return whether nobody listens there."""
    with closing(socket.socket()) as probe:
        probe.settimeout(2.0)
        return probe.connect_ex((address, port)) != 0


def test_a_scrape_tells_what_status_tells(enrolled: Make, tmp_path: Path) -> None:
    """Every documented name is there, its only label is the machine, and its value is the one of `status`."""
    port = free_port()
    with Broker(tmp_path) as broker:
        product = enrolled(FAST, mqtt_port=broker.port, tables=f"[metrics]\nport = {port}")
        with product.daemon() as daemon:
            wait_until(lambda: "edge_monitor_score" in scrape(port), 30.0, "a score")
            wait_until(lambda: scrape(port)["edge_monitor_broker_connected"].value == 1.0, 10.0, "the broker")
            before, told, after = scrape(port), product.answer("status"), scrape(port)
            assert daemon.stop() == 0
    assert set(after) == {*OF_THE_NODE.split(), *OF_A_MACHINE.split()}
    labels = {name: dict(sample.labels) for name, sample in after.items()}
    assert [labels[name] for name in OF_A_MACHINE.split()] == [{"machine": "pump"}] * 8
    assert {name for name in OF_THE_NODE.split() if labels[name]} == {"edge_monitor_encoder_seconds_bucket"}
    [pump] = told["machines"]
    assert before["edge_monitor_windows_total"].value <= pump["windows"] <= after["edge_monitor_windows_total"].value
    assert after["edge_monitor_threshold"].value == pump["threshold"]
    assert after["edge_monitor_state_code"].value == pump["state_code"] == 3.0
    assert after["edge_monitor_condition"].value == pump["condition"] == 1.0
    assert after["edge_monitor_thread_restarts_total"].value == told["health"]["thread_restarts"] == 0.0
    encoded = after["edge_monitor_encoder_seconds_count"].value
    assert after["edge_monitor_encoder_seconds_bucket"].value == encoded >= pump["windows"]
    assert 0.0001 < after["edge_monitor_encoder_seconds_sum"].value / encoded < 5.0
    assert 20e6 < told["health"]["memory_bytes"] < 1e9
    assert told["health"]["uptime_s"] < after["edge_monitor_uptime_seconds"].value


def test_an_outage_of_the_broker_shows(tmp_path: Path) -> None:
    """While nobody answers there, attempts are counted and the broker is not connected."""
    port = free_port()
    product = Product(tmp_path, IDLE, mqtt_port=free_port(), tables=f"[metrics]\nport = {port}")
    with product.daemon() as daemon:
        wait_until(lambda: scrape(port)["edge_monitor_publish_errors_total"].value >= 1.0, 20.0, "a failed attempt")
        assert scrape(port)["edge_monitor_broker_connected"].value == 0.0
        assert daemon.stop() == 0


def test_without_its_table_nothing_is_served_and_with_it_only_on_the_loopback(tmp_path: Path) -> None:
    """The daemon listens at no port of its own accord; when asked to, not at the box's other addresses."""
    port = free_port()
    with Product(tmp_path, IDLE).daemon() as daemon:
        assert refused("127.0.0.1", port)
        assert daemon.stop() == 0
    with Product(tmp_path, IDLE, tables=f"[metrics]\nport = {port}").daemon() as daemon:
        assert not refused("127.0.0.1", port)
        assert refused("127.0.0.2", port)
        assert daemon.stop() == 0


def test_scrapers_that_hang_hold_nobody_up(enrolled: Make) -> None:
    """Fifty connections that never ask: others are answered, windows are judged, none is dropped; then they are cut."""
    port = free_port()
    product = enrolled(tables=f"[metrics]\nport = {port}")
    with product.daemon() as daemon:
        hanging = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        windows = scrape(port)["edge_monitor_windows_total"].value
        wait_until(lambda: scrape(port)["edge_monitor_windows_total"].value > windows, 30.0, "another window")
        assert scrape(port)["edge_monitor_windows_dropped_total"].value == 0.0
        begin_s = time.monotonic()
        for connection in hanging:
            with connection:
                connection.settimeout(15.0)
                assert connection.recv(1) == b""  # the daemon has hung up
        assert time.monotonic() - begin_s < 15.0
        assert daemon.stop() == 0


def test_a_port_that_is_taken_is_no_reason_to_be_deaf(tmp_path: Path) -> None:
    """The log says that nothing is served; the machine is listened to."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        product = Product(tmp_path, IDLE, tables=f"[metrics]\nport = {port}")
        with product.daemon() as daemon:
            wait_until(lambda: "metrics.not_served" in daemon.log.read_text(), 10.0, "the refusal")
            [event] = [event for event in daemon.events() if event["event"] == "metrics.not_served"]
            assert (event["port"], event["reason"]) == (port, "Address already in use")
            assert daemon.stop() == 0
