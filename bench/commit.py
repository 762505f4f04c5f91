"""An alarm's commit, alone and while a box does everything else, beside a bare fsync on the same disk in the same run.

    python -m bench.commit

A node of tests/soak: eight machines alarm every six seconds, a ninth is what the operations work on. A commit is the
time from the decision to the commit's end, to the millisecond; a bare fsync is that of one page written beside it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.pairs import Ratio
from bench.part import need
from bench.rows import Row, markdown
from tests.soak import operations
from tests.soak.alarming import Disk, alarming, commits, make_state, told_from_memory, watched, write_turns
from tests.soak.in_turn import TIDIES_S, Report, in_turn
from tests.soak.operations import Sizes
from tests.sounds import pump, write_clips

if TYPE_CHECKING:
    from collections.abc import Sequence

HEALTHY_S = 300.0
SIZES = Sizes(imported=400, enrolled=400, forgotten=2000)
ALONE = 0.3  # of the time there is: before the first operation, and after the last


def measure(seconds: float) -> list[Row]:
    """Return a row for the time alone and for each operation."""
    need("mosquitto", "gcc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("made", "node"):
            (folder / part).mkdir()
        clips = write_clips(folder / "clips", "healthy", pump(HEALTHY_S))[0].parent
        write_turns(folder)
        make_state(folder / "made", clips, folder)
        plant = alarming(folder / "node", folder / "made/state", folder, disk=Disk(), tidies_after_s=TIDIES_S)
        operations.operation("retention", plant.product, SIZES).prepare(0)
        report = Report(Disk())
        with plant:
            plant.wait_for_alarms(2)
            with watched(plant) as seen:
                in_turn(plant, report, SIZES, alone_s=ALONE * seconds)
            report.complete(seen, commits(plant), told_from_memory(plant))
    return rows(report)


def rows(report: Report) -> list[Row]:
    """Return the rows: the slowest commit that was under way, beside the 99th percentile of all bare fsyncs."""
    bare_ms = 1e3 * report.seen.p99_s
    memory = f", {len(report.from_memory)} alarms told from memory" if report.from_memory else ""
    return [
        _row(f"alarm's commit, {name}, slowest", report.during(name), bare_ms, memory if name == "alone" else "")
        for name in report.spans
    ]


def _row(what: str, took_s: Sequence[float], bare_ms: float, more: str) -> Row:
    if not took_s:
        return Row(what, missing="no alarm came meanwhile")
    slowest_ms = 1e3 * max(took_s)
    note = f"{len(took_s)} commits, median {1e3 * float(np.median(took_s)):.0f} ms{more}"
    return Row(what, slowest_ms, "ms", "a bare fsync, p99", bare_ms, Ratio.of([bare_ms], [max(slowest_ms, 1.0)]), note)


def main() -> None:
    """Print the table."""
    print(markdown(measure(20.0)))


if __name__ == "__main__":
    main()
