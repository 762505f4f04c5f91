"""`edge-monitor doctor`: what is wrong is said, with what to do, whether the daemon runs or not."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from edge_monitor.config.file import load_settings
from edge_monitor.config.settings import ExplainSettings, Settings
from edge_monitor.doctor.finding import carefully
from edge_monitor.doctor.machine import look_at_normals_of
from edge_monitor.doctor.servers import look_at_llm
from edge_monitor.doctor.storage import look_at_database
from edge_monitor.node.verdict import Facts
from edge_monitor.store import database, recovery
from edge_monitor.store.state_dir import StateDir
from edge_monitor.store.store import Store
from tests.broker import Broker, Subscriber, free_port
from tests.faults.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.product import Product

KEY = "sk-canary-7f3e"
SPOKEN = '[explain]\nllm = "openai"\nmodel = "gpt-4o"\nbase_url = "{}"\napi_key_file = "llm-key"\n'


def examine(product: Product) -> dict[tuple[str, str | None], list[tuple[str, str, str | None]]]:
    """Return the findings of a run, (result, text, hint), by (check, machine)."""
    done = product.command("doctor", "--json")
    assert not done.stderr, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    failed = any(finding["result"] == "fail" for finding in answer["findings"])
    assert (done.returncode, answer["healthy"]) == ((1, False) if failed else (0, True))
    found: dict[tuple[str, str | None], list[tuple[str, str, str | None]]] = {}
    for each in answer["findings"]:
        found.setdefault((each["check"], each["machine"]), []).append((each["result"], each["text"], each["hint"]))
    return found


def results(findings: list[tuple[str, str, str | None]]) -> list[str]:
    """Return the results alone."""
    return [result for result, _, _ in findings]


def test_a_healthy_node_passes_while_its_daemon_runs(enrolled: Callable[..., Product], tmp_path: Path) -> None:
    """Nothing fails, sound has a level through the daemon's tap, and probes reach the broker beside the topics."""
    with Broker(tmp_path) as broker, Subscriber(broker.port) as plant:
        product = enrolled(mqtt_port=broker.port)
        with product.daemon():
            found = examine(product)
        probes = {message.topic for message in plant.messages if message.topic.endswith("/probe")}
    assert "fail" not in [result for findings in found.values() for result in results(findings)], found
    assert found["sound", "pump"][0][1].endswith(" dBFS")
    assert found["broker", None][0][0] == "ok"
    assert found["topics", None] == [("ok", "edge-monitor/v1/plant/edge: all 5 topics can be written", None)]
    base = "edge-monitor/v1/plant/edge"
    leaves = ("status", "pump/state", "pump/score", "pump/alert", "pump/explanation")
    assert probes == {f"{base}/{leaf}/probe" for leaf in leaves}


def test_without_a_daemon_the_source_itself_is_heard(enrolled: Callable[..., Product]) -> None:
    """It says that no daemon runs, and everything else is looked at all the same."""
    found = examine(enrolled())
    assert results(found["daemon", None]) == ["warn"]
    assert results(found["sound", "pump"]) == ["ok"]
    assert "generation 1" in found["normals", "pump"][0][1]
    assert found["database", None][0][0] == "ok"
    assert found["bundle", None][0][0] == "ok"


def test_only_losses_are_told_of_what_the_database_counts(enrolled: Callable[..., Product]) -> None:
    """Deliveries, what waits and the time that is believed are counted there as well, and worry nobody."""
    product = enrolled()
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
        connection.execute(
            "INSERT OR REPLACE INTO counters VALUES ('believed_ms', 5), ('outbox_sent', 9),"
            " ('outbox_due', 7), ('outbox_due_explanations', 2), ('outbox_bytes', 8946),"
            " ('storage_tried', 1)"
        )
    assert results(examine(product)["database", None]) == ["ok"]
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO counters VALUES ('outbox_dropped', 2)")
    assert examine(product)["database", None][1][1] == "lost since the beginning: outbox_dropped 2"


def test_a_broken_configuration_is_said_first_and_the_rest_is_looked_at(enrolled: Callable[..., Product]) -> None:
    """Each mistake is a finding; libraries and clock are checked without a configuration."""
    product = enrolled(extra='evidnce = "off"')
    done = product.command("doctor")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0].startswith("fail  config:")
    assert "evidnce" in lines[0]
    assert any(line.startswith("ok    libraries: hnswlib: sound") for line in lines)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_topic_that_an_access_list_denies_is_named(
    enrolled: Callable[..., Product], tmp_path: Path, protocol: str
) -> None:
    """Also with MQTT 3.1.1, where the broker acknowledges what it throws away."""
    acl = tmp_path / "acl"
    acl.write_text(
        "".join(
            f"topic readwrite edge-monitor/v1/plant/edge/{each}\n"
            for each in ("status/#", "pump/state/#", "pump/score/#", "pump/explanation/#")
        )
    )
    acl.chmod(0o700)
    with Broker(tmp_path, f"acl_file {acl}") as broker:
        product = enrolled(mqtt_port=broker.port, mqtt=f'protocol = "{protocol}"\n')
        found = examine(product)
    [(result, text, hint)] = found["topics", None]
    assert result == "fail"
    assert text.startswith("edge-monitor/v1/plant/edge/pump/alert: ")
    assert hint is not None
    assert "allow this user to write edge-monitor/v1/plant/edge/#" in hint


def test_a_writer_that_may_not_read_is_believed_with_either_protocol(
    enrolled: Callable[..., Product], tmp_path: Path
) -> None:
    """The access list that the guide recommends lets a node write and not read: no false alarm for 3.1.1."""
    acl = tmp_path / "acl"
    acl.write_text("topic write edge-monitor/v1/plant/edge/#\n")
    acl.chmod(0o700)
    with Broker(tmp_path, f"acl_file {acl}") as broker:
        found = examine(enrolled(mqtt_port=broker.port, mqtt='protocol = "3.1.1"\n'))
    assert results(found["topics", None]) == ["ok"]


def test_a_broker_that_is_away_or_refuses_is_told_with_the_remedy(
    enrolled: Callable[..., Product], tmp_path: Path
) -> None:
    """No connection, and no right to connect, are different findings."""
    product = enrolled(mqtt_port=free_port())
    [(result, _, hint)] = examine(product)["broker", None]
    assert (result, hint) == ("fail", "check that the broker runs, and mqtt.port")
    with Broker(tmp_path, "allow_anonymous false") as broker:
        product.mqtt_port = broker.port
        [(result, text, hint)] = examine(product)["broker", None]
    assert result == "fail"
    assert "refused by the broker: Not authorized" in text
    assert hint is not None
    assert "mqtt.username" in hint


def test_a_certificate_of_another_authority_is_told(enrolled: Callable[..., Product], tmp_path: Path) -> None:
    """The finding names the certificate and the settings to look at."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "other")
    with Broker(tmp_path, *ours.issue().listener) as broker:
        product = enrolled(mqtt_port=broker.port, mqtt=f'[mqtt.tls]\nca_file = "{theirs.ca_file}"\n')
        [(result, text, hint)] = examine(product)["broker", None]
        product.mqtt = f'[mqtt.tls]\nca_file = "{ours.ca_file}"\n'
        healed = examine(product)["broker", None]
    assert result == "fail"
    assert "certificate is not accepted" in text
    assert hint is not None
    assert "mqtt.tls.ca_file" in hint
    assert healed[0][1].endswith("connected with TLS, MQTT 5")


def test_a_damaged_database_and_open_files_are_found(enrolled: Callable[..., Product]) -> None:
    """A page of zeros in the middle, and a folder that everybody may read."""
    product = enrolled()
    path = product.state / "edge-monitor.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [page] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'generations'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    product.state.chmod(0o755)
    found = examine(product)
    assert results(found["database", None]) == ["fail"]
    assert "damaged" in found["database", None][0][1]
    assert results(found["permissions", None]) == ["fail"]


def test_an_empty_database_is_called_empty(enrolled: Callable[..., Product]) -> None:
    """A file of no bytes is told in words, with what to do; its machines are not enrolled."""
    product = enrolled()
    product.state.joinpath("edge-monitor.db").write_bytes(b"")
    found = examine(product)
    [(result, text, hint)] = found["database", None]
    assert (result, text.partition(": ")[2]) == ("warn", "empty, it has no tables yet")
    assert hint is not None
    assert "`edge-monitor restore` brings back what was enrolled" in hint
    assert [(result, text) for result, text, _ in found["normals", "pump"]] == [
        ("fail", "not enrolled: 0 normals, no generation")
    ]


def test_a_database_too_large_to_check_is_not_called_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When time runs out that is said, here and in the daemon's log; the daemon starts all the same."""
    state_dir = StateDir(tmp_path, tmp_path / "run")
    with closing(database.connect(state_dir.database)) as connection, database.transaction(connection):
        connection.executemany("INSERT INTO counters VALUES (?, 0)", [(f"{number:0300}",) for number in range(20_000)])
    monkeypatch.setattr(recovery, "LIMIT_S", 0.0)
    [(result, text)] = [(found.result, found.text) for found in look_at_database(state_dir)]
    assert (result, text.partition(": ")[2].partition(",")[0]) == ("warn", "not checked within 0 s")
    with structlog.testing.capture_logs() as logs:
        Store(state_dir.database).writer.close()
    assert [(log["event"], log["limit_s"]) for log in logs] == [("storage.not_checked", 0.0)]
    monkeypatch.undo()
    assert [found.result for found in look_at_database(state_dir)] == ["ok"]


def test_a_machine_that_is_not_enrolled_is_told(enrolled: Callable[..., Product]) -> None:
    """Another name in the configuration knows no normal sound."""
    [(result, text, hint)] = examine(enrolled(machine="fan"))["normals", "fan"]
    assert (result, text) == ("fail", "not enrolled: 0 normals, no generation")
    assert hint is not None
    assert "edge-monitor enroll" in hint


@pytest.mark.parametrize(
    ("threshold", "result", "hint"),
    [
        ("calibrated", "ok", None),
        (0.01, "warn", "machine.alarm.threshold is below the calibrated one: more false alarms than promised"),
        (1e6, "warn", 'machine.alarm.threshold is far above the calibrated one: lower it, or set "calibrated"'),
    ],
)
def test_what_was_learnt_is_found_as_the_verdict_says(
    enrolled: Callable[..., Product], threshold: float | str, result: str, hint: str | None
) -> None:
    """Good is well, thin is to look at; the hint is the verdict's next step."""
    chosen = "" if isinstance(threshold, str) else f"alarm = {{ threshold = {threshold}, threshold_generation = 1 }}"
    product = enrolled(extra=chosen)
    [machine] = load_settings(product.config).machine
    [found] = look_at_normals_of(machine, product.state / "edge-monitor.db", None)
    assert (found.result, found.hint) == (result, hint)
    assert found.text.startswith("generation 1, 60 normals: ")


def test_a_verdict_without_figures_ends_in_its_level(
    enrolled: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage is not judged by figures."""
    product = enrolled()
    [pump] = load_settings(product.config).machine
    monkeypatch.setattr("edge_monitor.doctor.machine.facts_of", lambda *_: Facts(damaged=True))
    [found] = look_at_normals_of(pump, product.state / "edge-monitor.db", None)
    assert (found.result, found.text) == ("fail", "generation 1, 60 normals: deaf")


def test_a_daemon_that_hangs_is_told_in_time(enrolled: Callable[..., Product]) -> None:
    """A stopped process holds its socket open and answers nothing."""
    product = enrolled()
    with product.daemon() as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        found = examine(product)
        daemon.process.send_signal(signal.SIGCONT)
    [(result, text, _)] = found["daemon", None]
    assert result == "fail"
    assert "does not answer within 5 s" in text


def test_the_key_of_the_llm_is_tried_and_never_shown(enrolled: Callable[..., Product], tmp_path: Path) -> None:
    """Nobody listens at the address; the finding shows neither the key nor the address's path."""
    (tmp_path / "llm-key").write_text(KEY + "\n")
    (tmp_path / "llm-key").chmod(0o644)
    product = enrolled(tables=SPOKEN.format(f"http://127.0.0.1:{free_port()}/secret-path/v1"))
    done = product.command("doctor", "--json")
    assert KEY not in done.stdout
    assert "secret-path" not in done.stdout
    findings = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert findings["llm"]["result"] == "fail"
    assert "cannot be reached" in findings["llm"]["text"]
    assert findings["permissions"]["result"] == "fail"
    assert "llm-key" in findings["permissions"]["text"]


class _Models(BaseHTTPRequestHandler):
    """A server with one model, for whoever has the key."""

    def do_GET(self) -> None:
        known = self.headers["authorization"] == f"Bearer {KEY}"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "gpt-4o"}]}' if known else b"{}")

    def log_message(self, *_: object) -> None:
        pass


def test_a_key_that_the_llm_refuses_is_told(tmp_path: Path) -> None:
    """The server's list of models is asked for with the key: good, wrong, and for a model it does not have."""
    path = tmp_path / "llm-key"
    with ThreadingHTTPServer(("127.0.0.1", 0), _Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        explain = ExplainSettings(llm="openai", api_key_file=path, base_url=f"http://127.0.0.1:{server.server_port}/v1")
        settings = Settings.model_validate(
            {
                "node": {"site": "plant", "name": "edge"},
                "machine": [{"name": "pump", "source": {"kind": "simulator"}}],
                "explain": explain,
            }
        )
        path.write_text(KEY)
        assert [each.result for each in look_at_llm(settings)] == ["ok"]
        path.write_text("sk-wrong")
        assert [each.result for each in carefully("llm", look_at_llm(settings))] == ["fail"]
        path.write_text(KEY)
        other = settings.model_copy(update={"explain": explain.model_copy(update={"model": "gpt-9"})})
        [finding] = look_at_llm(other)
        server.shutdown()
    assert finding.result == "warn"
    assert "gpt-9" in finding.text
