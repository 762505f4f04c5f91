"""Score minutes are rolled up by hour and by day once they are over, and anew when more comes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edge_monitor.config.settings import RetentionSettings
from edge_monitor.pipeline.score_minutes import MINUTE_MS
from edge_monitor.pipeline.score_rollups import medians_of, roll_up
from edge_monitor.runtime.housekeeping import tidy
from edge_monitor.store import database
from edge_monitor.store.store import Store
from tests.broker import wait_until
from tests.runtime.parts import rows
from tests.runtime.scored import DAY_MS, HOUR_MS, MIDNIGHT_MS, days, minute, write

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = "SELECT * FROM score_rollups ORDER BY machine, period_s, start_ms, generation"
LATER_MS = MIDNIGHT_MS + 400 * DAY_MS
ROLL_UP = """
import sys
import time
from pathlib import Path
from edge_monitor.pipeline.score_rollups import roll_up
from edge_monitor.store.store import Store
with Store(Path(sys.argv[1])) as store:
    roll_up(store, int(sys.argv[2]))
"""


def test_an_hour_is_rolled_up_when_it_is_over_and_anew_when_a_minute_comes_late(store: Store) -> None:
    """Minutes of 1, 2 and 6 become their hour and their day; a late 9 changes both, and nothing is due any more."""
    write(store, [minute(MIDNIGHT_MS + i * MINUTE_MS, score, exceeding=i) for i, score in enumerate((1.0, 2.0, 6.0))])
    assert roll_up(store, MIDNIGHT_MS + HOUR_MS) == 0
    assert rows(store, EVERYTHING) == []
    over_ms = MIDNIGHT_MS + HOUR_MS + 3 * MINUTE_MS
    assert roll_up(store, over_ms) == 1
    assert roll_up(store, over_ms) == 0
    figures = (1, 180, 3, 3, 1.0, 3.0, 2.0, 12.0, 10.0, -30.0)
    assert rows(store, EVERYTHING) == [(("pump", period_s, MIDNIGHT_MS, *figures)) for period_s in (3600, 86400)]
    write(store, [minute(MIDNIGHT_MS + 30 * MINUTE_MS, 9.0)])
    assert roll_up(store, over_ms) == 1
    figures = (1, 240, 3, 4, 1.0, 4.5, 4.0, 18.0, 10.0, -30.0)
    assert rows(store, EVERYTHING) == [(("pump", period_s, MIDNIGHT_MS, *figures)) for period_s in (3600, 86400)]
    assert rows(store, "SELECT * FROM rollups_due") == []


def test_each_generation_has_a_row_of_its_own_and_a_day_the_median_of_its_hours(store: Store) -> None:
    """Scores of two generations do not compare; a minute without scores belongs to none."""
    silent = ("pump", MIDNIGHT_MS + 3 * MINUTE_MS, 0, None, None, None, None, 7, 0, None, 0, 0, 0)
    write(store, [minute(MIDNIGHT_MS, 1.0), minute(MIDNIGHT_MS + MINUTE_MS, 5.0, generation=2), silent])
    write(store, [minute(MIDNIGHT_MS + hour * HOUR_MS, 5.0 + hour, generation=2) for hour in (1, 2)])
    assert roll_up(store, LATER_MS) == 3
    found = rows(store, "SELECT generation, windows, faults, score_median FROM score_rollups WHERE period_s = 86400")
    assert found == [(0, 0, 7, None), (1, 60, 1, 1.0), (2, 180, 3, 6.0)]
    with store.reading() as connection:
        ends_s, scores = medians_of(connection, "pump", 2, 3600, since_ms=MIDNIGHT_MS, until_ms=LATER_MS)
        _, tens = medians_of(connection, "pump", 1, 600, since_ms=MIDNIGHT_MS, until_ms=LATER_MS)
        _, unfinished = medians_of(connection, "pump", 1, 600, since_ms=0, until_ms=MIDNIGHT_MS + 9 * MINUTE_MS)
    assert ends_s.tolist() == [MIDNIGHT_MS / 1000 + 3600 * hour for hour in (1, 2, 3)]
    assert (scores.tolist(), tens.tolist(), unfinished.tolist()) == ([5.0, 6.0, 7.0], [1.0], [])


def test_weeks_that_nobody_rolled_up_are_caught_up_with(store: Store) -> None:
    """Each figure of 20 days is what the minutes say."""
    minutes = days(20)
    write(store, minutes)
    assert roll_up(store, LATER_MS) == 480
    found = rows(store, "SELECT score_median FROM score_rollups WHERE period_s = 3600 ORDER BY start_ms")
    hours = [[row[3] for row in minutes[first : first + 60]] for first in range(0, len(minutes), 60)]
    assert found == [(statistics.median(hour),) for hour in hours]
    [(windows, least, most)] = rows(
        store, "SELECT sum(windows), min(score_min), max(score_max) FROM score_rollups WHERE period_s = 86400"
    )
    assert (windows, least, most) == (20 * 1440 * 60, 1.0, pytest.approx(2 * 10.96))


def test_what_the_minutes_retention_has_taken_stays_rolled_up(store: Store) -> None:
    """Minutes wait until they are rolled up; a minute that comes when its hour's others are gone does not undo them."""
    write(store, days(1))
    retention = RetentionSettings(score_days=1.0, history_days=100.0)
    tidy(store, retention, MIDNIGHT_MS + 10 * DAY_MS)
    assert rows(store, "SELECT count(*) FROM score_minutes") == [(1440,)]
    roll_up(store, LATER_MS)
    before = rows(store, EVERYTHING)
    tidy(store, retention, MIDNIGHT_MS + 10 * DAY_MS)
    assert rows(store, "SELECT count(*) FROM score_minutes") == [(0,)]
    write(store, [minute(MIDNIGHT_MS, 9.0)])
    roll_up(store, LATER_MS)
    assert rows(store, EVERYTHING) == before
    tidy(store, retention, MIDNIGHT_MS + 101 * DAY_MS + HOUR_MS)
    assert rows(store, EVERYTHING) == []


def test_a_clock_that_was_not_set_makes_nothing_to_roll_up(store: Store) -> None:
    """Minutes of 1970 belong to no day."""
    write(store, [minute(60_000, 1.0)])
    assert roll_up(store, LATER_MS) == 0


@pytest.mark.parametrize("after", [5, 60, 300])
def test_a_roll_up_that_is_killed_is_finished_by_the_next(tmp_path: Path, after: int) -> None:
    """SIGKILL once so many hours are committed: the database is whole, and in the end as if nothing had happened."""
    path = tmp_path / database.FILE_NAME
    with Store(path) as store:
        write(store, days(30))
    process = subprocess.Popen([sys.executable, "-c", ROLL_UP, str(path), str(LATER_MS)])
    reader = Store(path, writes=False)

    def made() -> int:
        return int(str(rows(reader, "SELECT count(*) FROM score_rollups WHERE period_s = 3600")[0][0]))

    wait_until(lambda: process.poll() is not None or made() >= after, 60.0, "so many hours")
    process.kill()
    process.wait(10)
    reader.close()
    with Store(path) as store:
        assert rows(store, "PRAGMA integrity_check") == [("ok",)]
        left, hours = rows(store, "SELECT count(*) FROM rollups_due"), rows(store, "SELECT count(*) FROM score_rollups")
        assert left != [(0,)] or hours == [(720 + 30,)]
        # An hour is there, or due; its day has what its hours have.
        apart = (
            "SELECT count(*) FROM score_rollups d WHERE period_s = 86400 AND windows <> (SELECT sum(windows)"
            " FROM score_rollups h WHERE period_s = 3600 AND h.start_ms / 86400000 = d.start_ms / 86400000)"
        )
        assert rows(store, apart) == [(0,)]
        roll_up(store, LATER_MS)
        whole = rows(store, EVERYTHING)
    with Store(tmp_path / "other.db") as other:
        write(other, days(30))
        roll_up(other, LATER_MS)
        assert whole == rows(other, EVERYTHING)


def test_minutes_of_an_older_schema_are_rolled_up_by_the_generation_that_judged_them(tmp_path: Path) -> None:
    """By their threshold; those that no generation is known of by none, and how many exceeded is not known."""
    path = tmp_path / database.FILE_NAME
    connection = database.connect(path, version=8)
    generation = (
        "INSERT INTO generations (machine, number, created_ms, bundle_hash, metric, normalization, k, threshold,"
        " calibration, reason, active) VALUES ('pump', ?, 1, 'cd', 'euclidean', 'none', 4, ?, '{}', 'enroll', ?)"
    )
    connection.executemany(generation, [(1, 2.5, 0), (2, 3.5, 1)])
    connection.executemany(
        "INSERT INTO score_minutes VALUES ('pump', ?, 60, 1.0, 2.0, ?, -30.0, 0)",
        [(60_000, 2.5), (MIDNIGHT_MS, 2.5), (MIDNIGHT_MS + HOUR_MS, 3.5), (MIDNIGHT_MS + 2 * HOUR_MS, 9.0)],
    )
    connection.close()
    with Store(path) as store:
        assert roll_up(store, LATER_MS) == 3
        found = rows(store, "SELECT start_ms, generation, exceeding FROM score_rollups WHERE period_s = 3600")
    assert found == [(MIDNIGHT_MS + hour * HOUR_MS, (1, 2, 0)[hour], None) for hour in range(3)]


def test_a_piece_of_a_roll_up_leaves_room_for_an_alarm(store: Store) -> None:
    """No commit of a month's roll-up takes longer than 50 ms between BEGIN and COMMIT, disk excepted."""
    write(store, days(30))
    slowest_s, submit = 0.0, store.writer.submit

    def timed(write: object, *arguments: object, **more: object) -> object:
        def measured(connection: object) -> object:
            nonlocal slowest_s
            began_s = time.thread_time()
            result = write(connection)  # type: ignore[operator]  # the writer's own
            slowest_s = max(slowest_s, time.thread_time() - began_s)
            return result

        return submit(measured, *arguments, **more)  # type: ignore[arg-type]  # as above

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.writer, "submit", timed)
        roll_up(store, LATER_MS)
    assert 0 < slowest_s < 0.05
