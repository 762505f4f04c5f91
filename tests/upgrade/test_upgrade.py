"""What an older version left behind goes on under today's, and what a newer one left is not touched.

Each folder of tests/upgrade/states is one version's; tests/upgrade/make_state.py makes them. The daemon starts an hour
after the older version ended, whenever the tests run: else explanations would expire, and evidence be too old to keep.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import time
import tomllib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_monitor.encode.bundle import list_bundles
from edge_monitor.node.used_bundle import GO_OVER
from edge_monitor.store.database import FILE_NAME, SCHEMA_VERSION
from tests.broker import Broker, Subscriber, wait_until
from tests.faults.test_clock import FakeClock
from tests.llm_server import GOOD, LlmServer, says
from tests.product import Product
from tests.runtime.test_end_to_end import check_contract
from tests.upgrade.make_state import PORT, sound, write, write_scored

if TYPE_CHECKING:
    from collections.abc import Callable

    Upgrade = Callable[..., "Upgraded"]

STATES = sorted(path for path in (Path(__file__).parent / "states").iterdir() if path.is_dir())
BASE = "edge-monitor/v1/plant/edge"
ALERT, EXPLANATION, STATE = (f"{BASE}/pump/{kind}" for kind in ("alert", "explanation", "state"))
HOUR_S = 3600.0
SECONDS = 60.0  # of patience: everything together takes 10 s where nothing else runs
# Of a score, beside one millionth of it: another processor rounds otherwise. Between two ways to optimize the graph the
# float32 elements of a vector differ by up to 0.0001 dB, and these scores by up to 0.00001 (measured).
ROUNDING = 5e-5
SUPERSEDED = {"all was learnt with spectral-1, which spectral 2.0.0 supersedes": GO_OVER}
NEWER = f"written by a newer edge-monitor (schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION})"


@dataclass(frozen=True, slots=True)
class Left:
    """What the older version's own commands said of what it left behind: about.toml."""

    commit: str
    version: str
    made_ms: int  # wall clock, milliseconds since 1970-01-01 UTC
    schema: int
    bundle_hash: str  # of the active generation
    active_alarm: str
    active_seq: int  # its last one
    alarms: list[str]  # newest first
    pictures: list[str]  # file names, one for each of them
    open_explanations: int
    score_minutes: int
    windows: int  # in those minutes
    outbox: list[str]  # '{SHA-256 of the payload} {topic}' of each message that waits, in order
    score: list[dict[str, Any]]  # of each sound with each generation: sound, generation, scorer, score, threshold


@dataclass
class Upgraded(Product):
    """The older version's node and settings, but for what it hears and whom it reaches."""

    states: Path = Path()
    llm_port: int = PORT

    @property
    def config(self) -> Path:
        """Return the older version's configuration with this test's source and ports."""
        text = (self.states / "edge-monitor.toml").read_text()
        for line, own in (
            (r"source = .*", f"source = {self.source}"),
            (r"port = \d+", f"port = {self.mqtt_port or PORT}"),
            (r"base_url = .*", f'base_url = "http://127.0.0.1:{self.llm_port}/v1"'),
        ):
            text, found = re.subn(f"^{line}$", own, text, flags=re.MULTILINE)
            assert found == 1, line
        path = self.folder / "edge-monitor.toml"
        path.write_text(text)
        return path

    @property
    def left(self) -> Left:
        """Return what is known of the state as it was left."""
        return Left(**tomllib.loads((self.states / "about.toml").read_text()))


@pytest.fixture(params=STATES, ids=lambda path: path.name)
def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> Upgrade:
    """Make a copy of what a version left; takes Product's fields, and the LLM's port."""

    def make(source: str = heard(tmp_path, knocking=False), **fields: Any) -> Upgraded:  # noqa: ANN401 - Product's own fields
        archive = str(request.param / "state.tar.gz")
        subprocess.run(["tar", "-xzpf", archive, "--no-same-owner", "-C", str(tmp_path)], check=True)
        product = Upgraded(tmp_path, source, states=request.param, **fields)
        clock = FakeClock(tmp_path / "wall")
        clock.step_to(product.left.made_ms / 1000 + HOUR_S - time.time())
        product.prefix = clock.prefix
        return product

    return make


def heard(folder: Path, *, knocking: bool) -> str:
    """Write a clip of the pump of which it was made; return the source that plays it again and again."""
    name = "knocking" if knocking else "quiet"
    write(folder / f"{name}/pump.wav", sound(90, knocking=knocking))
    return f'{{ kind = "recording", path = "{folder / name}", pace = 20, loop = true }}'


def alerts(scada: Subscriber, alarm_id: str) -> list[dict[str, Any]]:
    """Return the alerts of one alarm that have arrived, in order."""
    told = [json.loads(message.payload) for message in scada.on(ALERT)]
    return [alert for alert in told if alert["alarm_id"] == alarm_id]


def files(state: Path, *folders: str) -> dict[str, str]:
    """Return the SHA-256 of every file below these folders of a state directory."""
    found = [path for name in folders for path in (state / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(state)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_the_alarm_goes_on_and_everything_that_waited_arrives(upgraded: Upgrade, tmp_path: Path) -> None:
    """One id before, during and after the upgrade; the same bytes in order; explanations, evidence and history stay."""
    with Broker(tmp_path) as broker, LlmServer(says(GOOD)) as llm, Subscriber(broker.port) as scada:
        product = upgraded(heard(tmp_path, knocking=True), mqtt_port=broker.port, llm_port=llm.port)
        left, kept = product.left, files(product.state, "evidence", "audio")
        with product.daemon() as daemon:
            wait_until(
                lambda: len(alerts(scada, left.active_alarm)) > left.active_seq + 1, SECONDS, "the alarm's update"
            )
            explained = sum(line.endswith(EXPLANATION) for line in left.outbox) + left.open_explanations
            worded = scada.wait_for(EXPLANATION, explained, SECONDS)[-left.open_explanations :]
            state = json.loads(scada.on(STATE)[-1].payload)
            [active] = product.answer("alarms list", "--active")
            findings = json.loads(product.command("doctor", "--json").stdout)["findings"]
            assert daemon.stop() == 0
        assert (state["state"], state["alarm_id"]) == ("alarm", left.active_alarm)
        assert active["alarm_id"] == left.active_alarm
        assert {json.loads(message.payload)["text"] for message in worded} == {GOOD}
        for check in ("bundle", "database", "permissions"):
            told = {
                each["text"]: each["hint"] for each in findings if each["check"] == check and each["result"] != "ok"
            }
            assert told == (SUPERSEDED if check == "bundle" else {}), findings

        product.source = heard(tmp_path, knocking=False)
        with product.daemon() as daemon:
            wait_until(lambda: alerts(scada, left.active_alarm)[-1]["event"] == "end", SECONDS, "the alarm's end")
            wait_until(lambda: json.loads(scada.on(STATE)[-1].payload)["state"] == "inhibited", SECONDS, "inhibition")
            assert daemon.stop() == 0
        assert len(scada.on(EXPLANATION)) == explained
        check_contract([message for message in scada.messages if not message.topic.endswith("/probe")])  # doctor's

    arrived = [f"{hashlib.sha256(message.payload).hexdigest()} {message.topic}" for message in scada.messages]
    for topic in (ALERT, EXPLANATION):
        waited = [line for line in left.outbox if line.endswith(topic)]
        assert [line for line in arrived if line.endswith(topic)][: len(waited)] == waited
    events = [(alert["seq"], alert["event"]) for alert in alerts(scada, left.active_alarm)]
    between = [(seq, "update") for seq in range(1, len(events) - 1)]
    assert events == [(0, "start"), *between, (len(events) - 1, "end")]
    assert [alarm["alarm_id"] for alarm in product.answer("alarms list")] == left.alarms
    for alarm_id, picture in zip(left.alarms, left.pictures, strict=True):
        alarm = product.answer("alarms show", alarm_id)
        assert {each["status"] for each in alarm["explanations"]} == {"ok"}
        assert Path(alarm["evidence"]["picture"]) == product.state / "evidence/pump" / picture
    assert files(product.state, "evidence", "audio") == kept
    minutes = product.rows("SELECT minute_ms, windows FROM score_minutes")
    before = [windows for minute_ms, windows in minutes if minute_ms <= left.made_ms]
    assert (len(before), sum(before)) == (left.score_minutes, left.windows)
    assert product.intact()


def test_a_sound_has_the_score_that_it_had(upgraded: Upgrade, tmp_path: Path) -> None:
    """Each generation can be gone back to, with its own bundle, scorer and threshold."""
    product = upgraded()
    left = product.left
    bundles = {each.bundle.bundle_hash for each in list_bundles(product.state) if each.bundle}
    assert left.bundle_hash in bundles, "the bundle of the active generation is packaged no more"
    paths = write_scored(tmp_path / "scored")
    generations = {each["generation"]: each for each in product.answer("generations list")}
    assert sorted({each["generation"] for each in left.score}) == sorted(generations)
    for number, generation in sorted(generations.items()):
        assert product.command("generations activate", str(number)).returncode == 0
        done = product.command("score", "--json", *map(str, paths))
        assert done.returncode == 0, done.stderr
        found = {Path(each["file"]).stem: each for each in map(json.loads, done.stdout.splitlines())}
        for was in (each for each in left.score if each["generation"] == number):
            now = found[was["sound"]]
            assert now["score"] == pytest.approx(was["score"], rel=1e-6, abs=ROUNDING)
            assert now["threshold"] == generation["threshold"] == pytest.approx(was["threshold"], rel=1e-12)
            assert (now["generation"], now["scorer"]) == (number, was["scorer"])


@pytest.mark.parametrize("log", [False, True], ids=["whole", "log-left"])
def test_a_newer_versions_database_is_refused_and_left_alone(upgraded: Upgrade, log: bool) -> None:
    """One line says what to do, and not a byte of the file or its write-ahead log changes."""
    product = upgraded()
    path = product.state / FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        if log:  # as after a power cut: nobody has moved it into the file yet
            for name in (FILE_NAME, f"{FILE_NAME}-wal"):
                shutil.copy(product.state / name, product.folder / name)
    if log:
        for name in (FILE_NAME, f"{FILE_NAME}-wal"):
            shutil.move(product.folder / name, product.state / name)
    before = {name: content for name, content in files(product.state, ".").items() if not name.endswith("-shm")}
    assert (f"{FILE_NAME}-wal" in before) is log
    clip = str(product.folder / "quiet/pump.wav")
    for verb, *arguments in (
        ("run",),
        ("alarms list",),
        ("score", clip),
        ("inhibit", "--resume"),
    ):
        done = product.command(verb, *arguments)
        assert done.returncode == 1, verb
        assert done.stderr.splitlines() == [f"edge-monitor: {path}: {NEWER} (upgrade edge-monitor)"], verb
        assert done.stdout == ""
    after = files(product.state, ".")
    assert {name: after.get(name) for name in before} == before
