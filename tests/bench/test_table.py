"""The table, and the results that are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.history import Result, last_of, this_machine
from bench.pairs import Ratio
from bench.rows import Row, cost_row, markdown

if TYPE_CHECKING:
    from pathlib import Path

ENCODER = Row("encoder", 4.312, "ms", "torch", 12.0, Ratio(2.783, 2.5, 3.0, 40), "one thread")
SIZE = Row("size", 179.2, "MB")
ABSENT = Row("captions", missing="needs the export environment")
RESULT = Result({"cpu": "x86_64", "cores": "2 cores"}, "2026-01-02T03:04:05Z", "0123abcd", 0.1, 500.0, (ENCODER, SIZE))


def test_the_table_shows_figures_ratios_and_what_was_not_measured() -> None:
    """Every row is a line; the last result stands in the last column."""
    last = (replace(ENCODER, value=8.0, ratio=Ratio(1.5, 1.4, 1.6, 9)), SIZE)
    assert markdown([ENCODER, SIZE, ABSENT], last) == (
        "| measured | here | beside | times cheaper (95 % interval; pairs) | last time |\n"
        "|---|--:|---|--:|--:|\n"
        "| encoder (one thread) | 4.31 ms | torch: 12 ms | 2.78 (2.5 to 3; 40) | 1.5 x at 8 ms |\n"
        "| size | 179 MB |  |  | 179 MB |\n"
        "| captions | not measured: needs the export environment | | |  |"
    )


def test_a_row_of_two_costs_has_their_medians_in_the_unit() -> None:
    """Seconds times 1000 are milliseconds; the ratio is the median of the pairs', not that of the medians."""
    row = cost_row("a", [0.001, 0.002, 0.004], "b", [0.002, 0.008, 0.002], unit="ms", scale=1e3)
    assert (row.value, row.beside_value, row.ratio) == (2.0, 2.0, Ratio(2.0, 0.5, 4.0, 3))


def test_a_kept_result_comes_back_as_it_was(tmp_path: Path) -> None:
    """Rows with and without a ratio survive the file."""
    path = RESULT.keep(tmp_path / "new")
    assert path.name == "2026-01-02T0304-0123abcd.json"
    assert last_of(RESULT.machine, tmp_path / "new") == RESULT


def test_only_the_newest_of_the_same_kind_of_machine_is_compared_with(tmp_path: Path) -> None:
    """Another machine's result, newer or not, says nothing."""
    RESULT.keep(tmp_path)
    newer = replace(RESULT, date="2026-02-02T00:00:00Z")
    newer.keep(tmp_path)
    replace(RESULT, machine={"cpu": "aarch64", "cores": "4 cores"}, date="2026-03-01T00:00:00Z").keep(tmp_path)
    assert last_of(RESULT.machine, tmp_path) == newer
    assert last_of({"cpu": "other"}, tmp_path) is None


def test_a_machine_is_described_without_names() -> None:
    """Neither the host's nor a user's name is in it."""
    import getpass
    import socket

    text = json.dumps(this_machine())
    assert "cores" in text
    assert socket.gethostname() not in text
    assert getpass.getuser() not in text


def test_a_result_says_when_the_box_was_busy() -> None:
    """A load above 0.3 per core is told beside the figures."""
    assert RESULT.describe() == "x86_64, 2 cores; 2026-01-02, 0123abcd; 500 s"
    busy = replace(RESULT, load_per_core=2.0).describe()
    assert busy.endswith("; 500 s; the box was busy (load 2.0 per core before the start)")
