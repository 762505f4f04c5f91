"""`edge-monitor calibrate`: what it prints, what it changes, and what it refuses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_monitor.memory.generations import active_generation
from edge_monitor.node.calibrating import operation
from edge_monitor.store.database import connect
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.product import Product


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of one machine in DCASE's layout: six healthy clips and six with a bearing fault."""
    folder = tmp_path_factory.mktemp("labelled")
    write_clips(folder / "pump" / "test", "normal_id_00", pump(60, take=5))
    write_clips(folder / "pump" / "test", "anomaly_id_00", pump(60, take=6, fault="bearing"))
    return folder


def lived(
    product: Product, days: float, rejected: tuple[float, ...] = (), believed_minutes: int = 0, first_minute: int = 0
) -> None:
    """Write days of operation at the active threshold, and false alarms with these peaks over the threshold.

    The last `believed_minutes` of it are an alarm that nobody rejected. Minutes before `first_minute` were forgotten.
    """
    minutes = round(days * 1440)
    with closing(sqlite3.connect(product.state / "edge-monitor.db")) as connection, connection:
        [(number, threshold)] = connection.execute("SELECT number, threshold FROM generations WHERE active = 1")
        connection.executemany(
            "INSERT INTO score_minutes (machine, minute_ms, windows, score_mean, score_max, threshold, level_dbfs_mean,"
            " faults) VALUES ('pump', ?, 60, ?, ?, ?, -20, 0)",
            [(i * 60_000, threshold / 2, threshold, threshold) for i in range(first_minute, minutes)],
        )
        alarms: list[tuple[object, ...]] = [
            (f"false-{i}", i * 60_000, i * 60_000, peak * threshold, threshold, number, i)
            for i, peak in enumerate(rejected)
        ]
        if believed_minutes:
            began_ms = (minutes - believed_minutes) * 60_000
            alarms.append(("true", began_ms, minutes * 60_000, 9 * threshold, threshold, number, None))
        connection.executemany(
            "INSERT INTO alarms (alarm_id, machine, started_ms, ended_ms, last_seq, peak_score, peak_ratio, threshold,"
            " generation, level_dbfs, window_start_s, window_end_s, neighbours, rejected_ms)"
            " VALUES (?, 'pump', ?, ?, 0, ?, 1, ?, ?, -20, 0, 10, '[]', ?)",
            alarms,
        )


def test_ten_minutes_cannot_promise_what_is_asked_for(enrolled: Callable[..., Product]) -> None:
    """Old and new threshold, what ten minutes promise, and what is the model's extrapolation."""
    product = enrolled()
    [before] = product.answer("generations list")
    done = product.command("calibrate", "--false-alarms-per-day", "2")
    assert done.returncode == 0, done.stderr
    [_, after] = product.answer("generations list")
    first, _, promise, low_line, last = done.stdout.splitlines()
    assert first == f"pump: threshold {before['threshold']:.4g} -> {after['threshold']:.4g}, generation 2 is active."
    assert promise.startswith("Expected are 0.02 per day, the model's extrapolation (95 % interval ")
    assert low_line.endswith(
        "The model expects 0.9 a month of a healthy one; what was heard cannot promise fewer than 720."
    )
    assert promise.endswith(
        "; successive windows correlated by 0.50). By counting alone, 0.2 h of normal sound (60 independent blocks)"
        " cannot promise fewer than 431 per day (95 %)."
    )
    assert last == "Later generations aim at 0.1 per day again unless [machine.alarm] has false_alarms_per_day = 2."
    assert after["threshold"] < before["threshold"]
    assert after["reason"] == "calibrate"


def test_dry_run_says_the_same_and_changes_nothing(enrolled: Callable[..., Product]) -> None:
    """What would come of it is what comes of it."""
    product = enrolled()
    planned = product.answer("calibrate", "--false-alarms-per-day", "2", "--dry-run")
    assert product.rows("SELECT count(*) FROM generations") == [(1,)]
    done = product.answer("calibrate", "--false-alarms-per-day", "2")
    assert planned["generation"] is None
    assert done["generation"] == 2
    assert {**planned, "generation": 2, "dry_run": False} == done


def test_a_running_daemon_goes_over_at_once_and_back(enrolled: Callable[..., Product]) -> None:
    """Through its socket: the next status has the new generation, and `generations activate` leads back."""
    product = enrolled()
    with product.daemon() as daemon:
        done = product.answer("calibrate", "--false-alarms-per-day", "2")
        loaded = [event for event in daemon.events() if event["event"] == "memory.generation_loaded"]
        assert [event["generation"] for event in loaded] == [1, 2]
        assert loaded[1]["threshold"] == round(done["threshold"], 3)
        back = product.answer("generations activate", "1")
        assert back["threshold"] == done["old_threshold"]
        assert daemon.stop() == 0


def test_ten_days_of_operation_promise_what_ten_minutes_cannot(enrolled: Callable[..., Product]) -> None:
    """Ten days without a false alarm promise 0.3 per day; the hours of an alarm that nobody rejected do not count."""
    product = enrolled()
    lived(product, 10.5, believed_minutes=721)
    found = product.answer("calibrate", "--dry-run")
    assert found["operation_days"] == pytest.approx(10.0, abs=0.01)
    assert found["at_most_per_day"] == pytest.approx(2.996 / 10.007, abs=0.001)
    assert "and 10.0 days of operation, where alarms that nobody rejected count as true," in found["calibration"]


def test_false_alarms_in_operation_raise_the_threshold(enrolled: Callable[..., Product]) -> None:
    """Seven rejected alarms in ten days refute a hundredth of 0.1 per day: the threshold rises to the highest peak."""
    product = enrolled()
    lived(product, 10.0, rejected=(1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7))
    found = product.answer("calibrate", "--dry-run")
    assert found["threshold"] == pytest.approx(1.7 * found["old_threshold"])
    assert found["at_most_per_day"] == pytest.approx(4.744 / 10.007, abs=0.001)  # one in ten days


def test_quiet_days_do_not_keep_a_lower_threshold_away(enrolled: Callable[..., Product]) -> None:
    """Who allows more false alarms gets a lower threshold, of which the quiet days say nothing."""
    product = enrolled()
    lived(product, 10.0)
    found = product.answer("calibrate", "--false-alarms-per-day", "10", "--dry-run")
    assert found["threshold"] < 0.97 * found["old_threshold"]
    assert found["operation_days"] == 0.0


def test_false_alarms_older_than_the_minutes_kept_are_not_counted(enrolled: Callable[..., Product]) -> None:
    """Alarms are kept for years, minutes for months: an alarm of twenty days ago has no minute left to stand in."""
    product = enrolled()
    lived(product, 20.0, rejected=(1.5,), first_minute=14_400)
    with closing(connect(product.state / "edge-monitor.db")) as connection:
        active = active_generation(connection, "pump")
        assert active is not None
        [found] = operation(connection, active, frozenset(active.members))
    assert found.days == pytest.approx(10.0)
    assert found.disturbed(active.threshold) == 0


def test_days_before_the_normals_changed_promise_nothing(enrolled: Callable[..., Product]) -> None:
    """Other normals are another detector; only by eq. 1 on raw or unit vectors can more of them not raise a score."""
    product = enrolled()
    lived(product, 10.0)
    with closing(connect(product.state / "edge-monitor.db")) as connection:
        active = active_generation(connection, "pump")
        assert active is not None
        more, fewer = frozenset({*active.members, 10_000}), frozenset(active.members[1:])
        assert operation(connection, active, more) == operation(connection, active, fewer) == ()
        connection.execute("UPDATE generations SET scorer = 'euclidean'")
        by_distance = replace(active, scorer="euclidean")
        assert [each.days for each in operation(connection, by_distance, more)] == [pytest.approx(10.0)]
        assert operation(connection, by_distance, fewer) == ()


def test_labels_are_not_mixed_with_another_scorers_unit(enrolled: Callable[..., Product], labelled: Path) -> None:
    """The clips are scored by the active generation, the threshold beside them would be the next one's."""
    product = enrolled()
    product.model = 'scorer = "local-density"'
    done = product.command("calibrate", "--labelled", str(labelled), "--id", "pump id_00")
    assert done.returncode == 1
    assert done.stderr.startswith("edge-monitor: pump: scored with sub-band-density, as its generation was built;")
    assert product.rows("SELECT count(*) FROM generations") == [(1,)]


def test_labels_are_shown_beside_and_used_only_when_told(enrolled: Callable[..., Product], labelled: Path) -> None:
    """The ROC point nearest the corner, its rates and the normal-only threshold's; --use labelled takes it."""
    product = enrolled()
    shown = product.command("calibrate", "--labelled", str(labelled))
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[1] == "pump id_00: 6 normal and 6 anomalous clips, AUC 100.0 %"
    assert lines[2].startswith("  threshold from labels ")
    assert lines[2].endswith(": 0 % false alarms, 0 % missed")
    assert lines[3].startswith("  threshold from normal sound ")
    assert lines[4] == "  The labels' threshold was chosen on these very clips: on others it does worse."
    used = product.answer("calibrate", "--labelled", str(labelled), "--use", "labelled")
    assert used["threshold"] == used["labelled"]["threshold"]
    assert used["method"] == "ROC point nearest (0, 1) of labelled clips"
    assert "windows above it raise an alarm, as labelled sound chose." in used["calibration"]
    assert [each["active"] for each in product.answer("generations list")] == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--use", "labelled"), 2, "--use labelled and --id need --labelled DATASET."),
        (("--false-alarms-per-day", "0"), 2, "0.0 is not in the range x>0"),
        (("--machine", "fan"), 2, "no machine is named 'fan'"),
        (("--labelled", "/nowhere"), 1, "edge-monitor: /nowhere: no such folder"),
    ],
)
def test_mistakes_are_told_in_one_line(
    enrolled: Callable[..., Product], arguments: tuple[str, ...], code: int, message: str
) -> None:
    """What cannot be done is said, and nothing is changed."""
    product = enrolled()
    done = product.command("calibrate", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert product.rows("SELECT count(*) FROM generations") == [(1,)]


def test_several_machines_need_a_choice(enrolled: Callable[..., Product], labelled: Path) -> None:
    """A data set of two machines: --id chooses one, and its mistakes are told with what there is."""
    write_clips(labelled / "pump" / "test", "normal_id_02", pump(10, take=7))
    write_clips(labelled / "pump" / "test", "anomaly_id_02", pump(10, take=8, fault="belt"))
    product = enrolled()
    done = product.command("calibrate", "--labelled", str(labelled))
    assert done.returncode == 1
    assert "several machines (choose one with --id: pump id_00, pump id_02)" in done.stderr
    wrong = product.command("calibrate", "--labelled", str(labelled), "--id", "id_04")
    assert "no machine is 'id_04' (it has pump id_00, pump id_02)" in wrong.stderr
    chosen: dict[str, Any] = product.answer("calibrate", "--labelled", str(labelled), "--id", "pump id_02")
    assert (chosen["labelled"]["normal_clips"], chosen["labelled"]["anomalous_clips"]) == (1, 1)


def test_a_machine_that_was_never_enrolled_is_told_so(enrolled: Callable[..., Product]) -> None:
    """There is nothing to calibrate from."""
    product = enrolled(machine="compressor")
    done = product.command("calibrate")
    assert done.returncode == 1
    assert done.stderr == (
        "edge-monitor: compressor: not enrolled: no normal sound is known (`edge-monitor enroll` first)\n"
    )
