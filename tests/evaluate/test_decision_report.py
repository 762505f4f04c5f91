"""What a measurement of decisions says to people, to programs and to the challenge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.evaluate.decision_figures import Condition, DecisionFigures, DecisionRow, OwnSplit
from edge_monitor.evaluate.decision_report import (
    DecisionAccount,
    challenge_files,
    for_programs,
    summary,
    write_decision_report,
)
from edge_monitor.evaluate.streams import Tally

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from edge_monitor.evaluate.streams import Length

OWN = Condition("spectral", "3 of 5", 0.1, None, "memory")
CHALLENGE = Condition("spectral", "DCASE baseline", None, None, "memory")


def row(machine: str, machine_id: str, condition: Condition, *delays: tuple[int, ...], changed: int = 0) -> DecisionRow:
    """Return a row of four streams of each kind in a split: faulty ones with these delays, one healthy alarm in all."""
    return DecisionRow(
        machine=machine,
        machine_id=machine_id,
        condition=condition,
        learnt_s=60.0 if condition.learn_s is None else condition.learn_s,
        aucs=np.full(len(delays), 90.0),
        healthy=tuple(Tally(4, int(number == 0), 0, ()) for number in range(len(delays))),
        faulty=tuple(Tally(4, len(each), changed, each) for each in delays),
    )


def account(*rows: DecisionRow, own_splits: tuple[OwnSplit, ...] = ()) -> DecisionAccount:
    """Return an account of two splits."""
    figures = DecisionFigures(rows, own_splits, 2, "3 of 5")
    return DecisionAccount("set", figures, {"spectral": "a bundle"}, ("<b>: left out",))


ROWS = (
    row("fan", "id_00", OWN, (3, 3), (3, 9)),
    row("fan", "id_00", CHALLENGE, (1, 1, 1, 1), (1, 1, 1, 1)),
    row("fan", "id_02", OWN, (), ()),
    row("pump", "id_00", OWN, (4, 4, 4, 4), (4, 4, 4, 4)),
)


def test_programs_get_counts_by_machine_id_and_percent_over_them() -> None:
    """Every machine counts the same: fan 50 % and 0 %, pump 100 %. What is compared stands beside."""
    found: dict[str, Any] = for_programs(account(*ROWS))
    assert found["rows"][0] == {
        "machine": "fan",
        "machine_id": "id_00",
        "bundle": "spectral",
        "rule": "3 of 5",
        "false_alarms_per_day": 0.1,
        "stream": "memory",
        "learn_s": None,
        "learnt_s": 60.0,
        "auc": 90.0,
        "healthy_streams": 8,
        "healthy_alarm": 1,
        "healthy_changed": 0,
        "faulty_streams": 8,
        "faulty_alarm": 4,
        "faulty_changed": 0,
        "delay_windows_median": 3.0,
    }
    assert [(each["machine"], each["machine_id"]) for each in found["rows"]] == [
        ("fan", "id_00"),
        ("fan", "id_02"),
        ("pump", "id_00"),
    ]
    assert found["rows"][1]["delay_windows_median"] is None
    assert [each["rule"] for each in found["beside"]] == ["DCASE baseline"]
    mean = found["mean"]
    assert mean == found["means"][0]
    assert (mean["ids"], mean["auc"], mean["healthy_alarm"], mean["faulty_alarm"]) == (3, 90.0, 12.5, 62.5)
    assert mean["faulty_alarm_low"] < 62.5 < mean["faulty_alarm_high"]
    assert (mean["healthy_streams"], mean["faulty_streams"], mean["delay_windows_median"]) == (24, 24, 4.0)
    assert (found["splits"], found["left_out"]) == (2, ["<b>: left out"])


def test_the_mean_is_of_the_sound_that_most_machine_ids_have() -> None:
    """Two minutes were learnt by both, three by one."""
    learnt = [Condition("spectral", "3 of 5", 0.1, learn_s, "memory") for learn_s in (60.0, 120.0, 180.0)]
    rows = [row("fan", "id_00", each, (3,)) for each in learnt]
    rows += [row("fan", "id_02", each, (3,)) for each in learnt[:2]]
    found: dict[str, Any] = for_programs(account(*rows))
    assert (found["mean"]["learn_s"], found["mean"]["ids"]) == (120.0, 2)
    assert [each["learn_s"] for each in found["means"]] == [60.0, 120.0, 180.0]


def test_a_point_of_fewer_machine_ids_says_so() -> None:
    """The curve would look like one of learning, and is one of other machines."""
    learnt = [Condition("spectral", "3 of 5", 0.1, learn_s, "memory") for learn_s in (60.0, 120.0)]
    rows = [row("fan", "id_00", learnt[0], (3,)), row("fan", "id_02", learnt[0], (3,))]
    assert "id</text>" not in account(*rows).recall()
    fewer = account(*rows, row("fan", "id_00", learnt[1], (3,)))
    assert fewer.recall().count(">1 id</text>") == 2  # faulty and healthy
    assert any("fewer ids are of other machines" in note for note in fewer.notes())


def test_one_split_of_one_machine_id_has_no_interval() -> None:
    """Nothing varies."""
    found: dict[str, Any] = for_programs(account(row("fan", "id_00", OWN, (3,))))
    assert (found["mean"]["faulty_alarm"], found["mean"]["faulty_alarm_low"]) == (25.0, None)
    assert "| 25.0 |" in " ".join(summary(account(row("fan", "id_00", OWN, (3,)))).split())


@pytest.mark.parametrize(("changed", "columns"), [(0, 9 + 1), (2, 9 + 2)])
def test_changed_is_a_column_once_a_rule_finds_it(changed: int, columns: int) -> None:
    """Today's rules know an alarm and nothing below it."""
    table = account(row("fan", "id_00", OWN, (3,), (3,), changed=changed)).overview()
    assert len(table.head) == columns
    assert ("faulty: changed" in table.head) is bool(changed)
    assert {len(each) for each in table.rows} == {columns}


def test_the_challenges_files_are_named_and_filled_as_it_asks() -> None:
    """A line for each test clip, no heading; sections have `_test` in their names, as from 2021."""
    scores = {"anomaly_id_00_00000000.wav": 2.5, "normal_id_00_00000001.wav": 1.0}
    files = challenge_files(OwnSplit("fan", "id_00 -6 dB", "spectral", scores, threshold=1.0))
    assert files == {
        "spectral/anomaly_score_fan_id_00_-6_dB.csv": "anomaly_id_00_00000000.wav,2.5\nnormal_id_00_00000001.wav,1.0\n",
        "spectral/decision_result_fan_id_00_-6_dB.csv": "anomaly_id_00_00000000.wav,1\nnormal_id_00_00000001.wav,0\n",
    }
    assert list(challenge_files(OwnSplit("fan", "section_02", "spectral", scores, threshold=1.0))) == [
        "spectral/anomaly_score_fan_section_02_test.csv",
        "spectral/decision_result_fan_section_02_test.csv",
    ]


def test_it_says_what_the_challenges_rule_learns_from() -> None:
    """Windows for streams, whole clips for the challenge's files."""
    [note] = [note for note in account(*ROWS).notes() if note.startswith("DCASE baseline: ")]
    assert "a gamma fit of normal windows' scores. " in note
    assert note.endswith("The challenge's files judge whole clips, by a fit of normal clips' mean scores.")


def test_the_report_draws_recall_against_minutes_learnt(tmp_path: Path) -> None:
    """A line for the faulty streams of each rule, a dashed one for the healthy ones; what was left out stays text."""
    of_length: dict[Length, list[Condition]] = {
        length: [Condition("spectral", "3 of 5", 0.1, learn_s, length) for learn_s in (60.0, 120.0)]
        for length in ("memory", "passes")
    }
    rows = [row("fan", "id_00", each, (3, 3), (3, 9)) for conditions in of_length.values() for each in conditions]
    own = OwnSplit("fan", "id_00", "spectral", {"normal_id_00_00000001.wav": 1.0}, threshold=1.0)
    write_decision_report(account(*rows, own_splits=(own,)), tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        "figures.json",
        "recall.svg",
        "report.html",
        "report.md",
        "spectral/anomaly_score_fan_id_00.csv",
        "spectral/decision_result_fan_id_00.csv",
    ]
    page = (tmp_path / "report.html").read_text()
    assert page.count("<polyline") == 2
    assert 'points="248.0,110.0 458.0,110.0"' in page  # 50 % at one and at two minutes
    assert "minutes learnt" in page
    assert "spectral, 3 of 5 at 0.1 a day: faulty" in page
    assert "&lt;b&gt;: left out" in page
    text = (tmp_path / "report.md").read_text()
    assert "![recall against minutes learnt](recall.svg)" in text
    assert "- <b>: left out" in text
