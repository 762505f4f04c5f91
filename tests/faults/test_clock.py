"""Wall clocks that step, or begin in 1970: nothing is duplicated, nothing suppressed, nothing deleted because of it."""

from __future__ import annotations

import ctypes
import json
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_monitor import clock
from edge_monitor.alarm import history
from edge_monitor.config.settings import RetentionSettings
from edge_monitor.runtime.housekeeping import DAY_MS, tidy
from edge_monitor.store import database
from edge_monitor.store.store import Store
from tests.broker import wait_until
from tests.faults.oracle import BASE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from tests.faults.oracle import Plant

    MakePlant = Callable[..., Plant]

pytestmark = pytest.mark.timeout(300)  # of patience, on a busy box

TODAY_MS = 1_800_000_000_000
PATIENCE_S = 60.0  # a turn takes 5 s where nothing else runs
HOUR_S, YEAR_S = 3600.0, 365 * 86_400.0
# Nobody answers there, so what is to be worded waits; an hour of waiting is the limit.
WAITING_LLM = '[explain]\nllm = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nexpire_h = 1'


@dataclass
class FakeClock:
    """A wall clock the test can step under a running program (libfaketime); the monotonic clock stays real."""

    file: Path

    def step_to(self, offset_s: float) -> None:
        """Let it be this far from the true time, seconds."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset_s:+.0f}")
        new.replace(self.file)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return what goes before a command line that is to see this clock."""
        [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        return (
            "env",
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",  # files keep the time at which they were written
        )


@pytest.fixture
def wall(tmp_path: Path) -> FakeClock:
    """Return a clock that is right as yet."""
    fake = FakeClock(tmp_path / "wall")
    fake.step_to(0)
    return fake


def steps(plant: Plant) -> list[float]:
    """Return the steps that the node has logged, seconds."""
    assert plant.daemon is not None
    return [event["by_s"] for event in plant.daemon.events() if event["event"] == "clock.stepped"]


def alerts(plant: Plant) -> list[dict[str, Any]]:
    """Return every alert that the plant got, in order."""
    return [json.loads(message.payload) for message in plant.delivered() if message.topic.endswith("/alert")]


def newest(plant: Plant, topic: str) -> dict[str, Any]:
    """Return the newest message on a topic of the node."""
    payload: dict[str, Any] = json.loads(plant.scada.on(f"{BASE}/{topic}")[-1].payload)
    return payload


def heard(plant: Plant) -> int:
    """Return how many windows, one each second of sound, were judged since the start."""
    windows: int = plant.product.answer("status")["machines"][0]["windows"]
    return windows


def pictures(plant: Plant) -> set[str]:
    """Return the alarms of which a picture is kept."""
    return {path.stem for path in (plant.product.state / "evidence/pump").glob("*.png")}


def shows(plant: Plant, topic: str, offset_s: float) -> bool:
    """Return whether the newest message on a topic was written by a clock that is this far from the true time."""
    told_s = float(newest(plant, topic)["at_ms"]) / 1000
    return abs(told_s - time.time() - offset_s) < 10.0


def step_and_wait_for_an_alarm(plant: Plant, wall: FakeClock, offset_s: float) -> None:
    """Step, and return when the plant was told the new time, and of another alarm with its picture."""
    logged, known, drawn = len(steps(plant)), len(plant.alarms()), len(pictures(plant))
    wall.step_to(offset_s)
    wait_until(lambda: len(steps(plant)) == logged + 1, 10.0, "a logged step")
    for topic in ("pump/state", "status"):
        wait_until(partial(shows, plant, topic, offset_s), 10.0, f"the new time on {topic}")
        assert newest(plant, topic)["clock_synced"] == kernel_says_synchronized()
    plant.wait_for_alarms(known + 1, PATIENCE_S)
    wait_until(lambda: len(pictures(plant)) > drawn, 30.0, "its picture")


def kernel_says_synchronized() -> int:
    """Return what another question to the same kernel answers; where it may not be asked, as in a container: no."""
    return int(0 <= ctypes.CDLL(None).ntp_gettime(ctypes.create_string_buffer(256)) < 5)  # TIME_ERROR, ntp_gettime(3)


def test_steps_under_a_running_node(plant: MakePlant, wall: FakeClock) -> None:
    """+1 year, then -1 hour: logged once each; alarms go on, the cooldown too, evidence and explanations stay."""
    running = plant(prefix=wall.prefix, tables=WAITING_LLM, extra="[machine.alarm]\noff_delay_s = 10\ncooldown_s = 20")
    running.wait_for_alarms(1, PATIENCE_S)
    wait_until(lambda: len(pictures(running)) == 1, 30.0, "the first alarm's picture")
    step_and_wait_for_an_alarm(running, wall, YEAR_S)
    step_and_wait_for_an_alarm(running, wall, -HOUR_S)
    assert steps(running) == [pytest.approx(YEAR_S, abs=2.0), pytest.approx(-YEAR_S - HOUR_S, abs=2.0)]
    keys = [(alert["alarm_id"], alert["seq"]) for alert in alerts(running)]
    assert len(set(keys)) == len(keys)
    assert keys[0][0] in pictures(running)
    explanations = running.product.rows("SELECT method, reason FROM explanations WHERE finished_ms IS NOT NULL")
    assert {method for method, _ in explanations} == {"measured"}
    running.check(seconds=PATIENCE_S)
    running.stop()


def test_an_inhibition_under_a_step(plant: MakePlant, wall: FakeClock) -> None:
    """It neither ends with a year that did not pass, nor goes on for an hour that comes twice."""
    running = plant(prefix=wall.prefix)
    running.wait_for_alarms(1, PATIENCE_S)
    running.product.answer("inhibit", "--minutes", "4")  # of sound, in which the pump fails at least twice
    begin, before = heard(running), len(running.alarms())  # on a busy box the pump fails again before it is inhibited
    wall.step_to(YEAR_S)
    wait_until(lambda: heard(running) > begin + 150, PATIENCE_S, "150 s of sound")
    assert len(running.alarms()) == before
    wall.step_to(-HOUR_S)
    running.wait_for_alarms(before + 1, PATIENCE_S)
    running.check(seconds=PATIENCE_S)
    running.stop()


def test_a_boot_without_a_clock(plant: MakePlant, wall: FakeClock) -> None:
    """From 1970 on it alarms and says clock_synced 0; with the right time all goes on, and nothing of 1970 is lost."""
    wall.step_to(-time.time() + 60.0)
    running = plant(prefix=wall.prefix)
    running.wait_for_alarms(1, PATIENCE_S)
    first = alerts(running)[0]
    assert first["at"].startswith("1970-01-01T")
    assert first["clock_synced"] == newest(running, "status")["clock_synced"] == 0
    wall.step_to(0)
    running.wait_for_alarms(len(running.alarms()) + 1, PATIENCE_S)
    assert [by_s > YEAR_S for by_s in steps(running)] == [True]
    assert newest(running, "status")["clock_synced"] == kernel_says_synchronized()
    running.stop()
    wall.step_to(-time.time() + 60.0)
    running.start()
    running.check(seconds=PATIENCE_S)
    assert (first["alarm_id"],) in running.product.rows("SELECT alarm_id FROM alarms")
    running.stop()


# --- the rules behind it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("believed_ms", "elapsed_s", "wall_ms", "expected_ms"),
    [
        (TODAY_MS, 10.0, TODAY_MS + 10_000, TODAY_MS + 10_000),  # a clock that is right
        (TODAY_MS, 10.0, TODAY_MS + 31_536_000_000, TODAY_MS + 20_000),  # +1 year
        (TODAY_MS, 10.0, TODAY_MS - 3_600_000, TODAY_MS),  # -1 hour
        (TODAY_MS, 10.0, 60_000, TODAY_MS),  # back in 1970
        (60_000, 10.0, 80_000, 80_000),  # still in 1970
        (60_000, 10.0, TODAY_MS, TODAY_MS),  # the first credible time
    ],
)
def test_ages_follow_the_clock_without_its_steps(
    believed_ms: int, elapsed_s: float, wall_ms: int, expected_ms: int
) -> None:
    """What ages are judged by goes at most twice as fast as time, and never back."""
    assert clock.follow(believed_ms, elapsed_s, wall_ms) == expected_ms


def test_a_step_is_seen_once() -> None:
    """A clock that is slewed has not stepped; one that jumps has, at one look only."""
    watch = clock.StepWatch(clock.Now(100.0, TODAY_MS))
    looks = [(101.0, 1_000), (102.0, 2_400), (103.0, 3_602_400), (104.0, 3_603_400), (105.0, 4_400)]
    assert [watch.look(clock.Now(at_s, TODAY_MS + by_ms)) for at_s, by_ms in looks] == [0, 0, 3599.0, 0, -3600.0]


def _put(ended: tuple[str, int], connection: sqlite3.Connection) -> None:
    _alarm_that_ended(connection, *ended)


def _alarm_that_ended(connection: sqlite3.Connection, alarm_id: str, ended_ms: int) -> None:
    connection.execute(
        "INSERT INTO alarms (alarm_id, machine, started_ms, ended_ms, last_seq, peak_score, peak_ratio, threshold,"
        " generation, level_dbfs, window_start_s, window_end_s, neighbours)"
        " VALUES (?, 'pump', ?, ?, 1, 1, 1, 1, 1, -20, 0, 10, '[]')",
        (alarm_id, ended_ms - 60_000, ended_ms),
    )


@pytest.mark.parametrize(
    ("wall_ms", "cooldown_left_s", "inhibit_left_s"),
    [
        (TODAY_MS + 60_000, 240.0, 540.0),  # a minute later
        (TODAY_MS + 60_000 + 31_536_000_000, 0.0, 0.0),  # +1 year
        (TODAY_MS + 60_000 - 3_600_000, 0.0, 600.0),  # -1 hour: no longer than it was given for
        (60_000, 0.0, 600.0),  # 1970
    ],
)
def test_a_clock_that_stepped_during_a_restart_suppresses_nothing(
    tmp_path: Path, wall_ms: int, cooldown_left_s: float, inhibit_left_s: float
) -> None:
    """A cooldown whose start lies in the future is over; an inhibition of 10 minutes lasts 10 minutes at the most."""
    with closing(database.connect(tmp_path / database.FILE_NAME)) as connection:
        _alarm_that_ended(connection, "a", TODAY_MS)
        history.set_inhibition(connection, "pump", TODAY_MS + 600_000, 600.0)
        restored = history.restore(connection, "pump", cooldown_s=300.0, wall_ms=wall_ms)
    assert (restored.cooldown_left_s, restored.inhibit_left_s) == (cooldown_left_s, inhibit_left_s)


def test_what_carries_a_time_of_1970_is_not_tidied_away(tmp_path: Path) -> None:
    """Only what has an age can be too old: an alarm of 1970 stays, one of eleven days ago goes."""
    ended = (("of 1970", 120_000), ("old", TODAY_MS - 11 * DAY_MS), ("new", TODAY_MS - DAY_MS))
    with Store(tmp_path / database.FILE_NAME) as store:
        for each in ended:
            store.commit(partial(_put, each))
        tidy(store, RetentionSettings(alarm_days=10), TODAY_MS)
        with store.reading() as connection:
            left = [row["alarm_id"] for row in connection.execute("SELECT alarm_id FROM alarms ORDER BY ended_ms")]
            counted = connection.execute("SELECT name, value FROM counters").fetchall()
    assert ("alarms_removed_by_age", 1) in [tuple(row) for row in counted]
    assert left == ["of 1970", "new"]
