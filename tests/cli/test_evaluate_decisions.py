"""`evaluate DATASET --decisions` as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_monitor.cli.evaluate import command
from tests.cli.evaluating import evaluate

if TYPE_CHECKING:
    from pathlib import Path


def test_decisions_are_told_as_json_and_in_a_report(dataset: Path, tmp_path: Path) -> None:
    """Nine normal clips of a window each, five learnt; the three louder ones raise an alarm or do not."""
    options = ("--learn", "50s,1h", "--false-alarms-per-day", "1,0.1", "--resplit", "3", "--seed", "2")
    done = evaluate(dataset, "--decisions", *options, "--out", "out", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert [(row["learnt_s"], row["false_alarms_per_day"]) for row in figures["rows"]] == [(50.0, 1.0), (50.0, 0.1)]
    assert {row["healthy_streams"] for row in (*figures["rows"], *figures["beside"])} == {30}
    assert figures["mean"]["auc"] == 100.0
    assert figures["left_out"] == ["pump id_00: 3600 s are not learnt: there are 50 s to learn from"]
    assert json.loads((tmp_path / "out/figures.json").read_text()) == figures
    lines = (tmp_path / "out/spectral/decision_result_pump_id_00.csv").read_text().splitlines()
    assert lines[:3] == [f"anomaly_id_00_0000000{number}.wav,1" for number in range(3)]
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--learn", "1m"], "--learn goes only with --decisions"),
        (["--false-alarms-per-day", "1"], "--false-alarms-per-day goes only with --decisions"),
        (["--decisions", "--baseline", "autoencoder"], "--baseline goes not with --decisions"),
        (["--decisions", "--learn", "1m,5"], "'1m,5' is no list of durations such as 90s,5m,1h"),
        (["--decisions", "--learn", "0s"], "'0s' is no list of durations"),
        (["--decisions", "--learn", ""], "'' is no list of durations"),
        (["--decisions", "--false-alarms-per-day", "0.1,0"], "'0.1,0' is no list of numbers above 0 such as 0.1,0.01"),
        (["--decisions", "--false-alarms-per-day", "nan"], "'nan' is no list of numbers above 0"),
        (["--decisions", "--false-alarms-per-day", "x"], "'x' is no list of numbers above 0"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_read(tmp_path: Path, options: list[str], says: str) -> None:
    """The data set need not even be there."""
    done = CliRunner().invoke(command, [str(tmp_path / "nowhere"), *options])
    assert done.exit_code == 2
    assert f"Error: {says}" in done.output or f": {says}" in done.output
