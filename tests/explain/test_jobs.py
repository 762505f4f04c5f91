"""Explanations as rows of a real database: what is counted, what is told once, what is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_monitor.errors import StorageError
from edge_monitor.explain import jobs
from edge_monitor.explain.captions import find_caption, keep_caption
from edge_monitor.records import Explanation, Finding
from edge_monitor.store import database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

DAY = "2026-01-31"
FINDINGS = (
    Finding(
        "impulses",
        "impulses at 87 per second, normally none",
        87.3,
        None,
        "1/s",
        4.5,
        (2400.0, 4200.0),
        ((0.5, 0.6), (1.5, 1.6)),
    ),
    Finding("band-level", "6 dB more", 6.0, 0.0, "dB", 2.0),
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a database with two alarms, whose explanations are one job measured and one worded each."""
    opened = database.connect(tmp_path / database.FILE_NAME)
    for number, at_ms in (("a", 1000), ("b", 2000)):
        with database.transaction(opened):
            opened.execute(
                "INSERT INTO alarms (alarm_id, machine, started_ms, ended_ms, last_seq, peak_score, peak_ratio,"
                " threshold, generation, level_dbfs, window_start_s, window_end_s, neighbours)"
                " VALUES (?, 'pump', ?, 5000, 0, 2.0, 2.0, 1.0, 3, -30.0, 0.0, 10.0, '[]')",
                (number, at_ms),
            )
            jobs.create(opened, number, ("measured", "zero-shot"), at_ms)
    yield opened
    opened.close()


def worded(connection: sqlite3.Connection) -> jobs.Job:
    """Return the first alarm's worded job as it is now."""
    found = jobs.find(connection, "a", "zero-shot")
    assert found is not None
    return found


def test_jobs_wait_oldest_first_with_their_place(connection: sqlite3.Connection) -> None:
    """What is measured is the alarm's explanation 0, what is worded 1; each knows its machine and generation."""
    waiting = jobs.waiting(connection, worded=True)
    assert [(job.alarm_id, job.seq, job.method) for job in waiting] == [("a", 1, "zero-shot"), ("b", 1, "zero-shot")]
    assert [job.seq for job in jobs.waiting(connection, worded=False)] == [0, 0]
    assert (waiting[0].machine, waiting[0].generation, waiting[0].created_ms) == ("pump", 3, 1000)


def test_an_explanation_comes_back_as_it_was_told(connection: sqlite3.Connection) -> None:
    """Findings with bands and times, and every field, survive the database; what was measured stays beside them."""
    told = Explanation("a", "pump", 0, "measured", 3, "Impulses.", findings=FINDINGS, latency_s=0.25)
    assert jobs.finish(connection, told, at_ms=7, acoustics='{"version":1}')
    assert jobs.of_alarm(connection, "a") == [told]
    assert jobs.acoustics_of(connection, "a") == '{"version":1}'
    said = Explanation(
        "a",
        "pump",
        1,
        "zero-shot",
        3,
        "This sound is rough.",
        caption="Sounds like a drill",
        model="gpt-4o",
        prompt_version="1",
        format_ok=True,
        latency_s=2.5,
    )
    assert jobs.finish(connection, said, at_ms=8)
    assert jobs.of_alarm(connection, "a") == [told, said]


def test_the_first_end_of_a_job_stands(connection: sqlite3.Connection) -> None:
    """A job that is finished is not finished again, and waits no more."""
    assert jobs.finish(connection, jobs.unavailable(worded(connection), "expired"), at_ms=7)
    assert not jobs.finish(connection, Explanation("a", "pump", 1, "zero-shot", 3, "late"), at_ms=8)
    [ended] = jobs.of_alarm(connection, "a")
    assert (ended.text, ended.reason) == (None, "expired")
    assert [job.alarm_id for job in jobs.waiting(connection, worded=True)] == ["b"]


def test_requests_are_counted_before_and_cleared_by_what_comes_back(connection: sqlite3.Connection) -> None:
    """A request counts for its alarm and its day; an answer clears what was unanswered, a refused connection both."""
    for _ in range(2):
        jobs.debit(connection, worded(connection), DAY)
    assert (worded(connection).requests, worded(connection).unanswered) == (2, 2)
    jobs.came_back(connection, worded(connection))
    assert (worded(connection).requests, worded(connection).unanswered) == (2, 0)
    jobs.debit(connection, worded(connection), DAY)
    jobs.give_back(connection, worded(connection), DAY)
    assert (worded(connection).requests, worded(connection).unanswered) == (2, 0)
    jobs.debit_by_hand(connection, None, DAY)
    assert jobs.requests_on(connection, DAY) == 3
    assert worded(connection).spent == 2
    assert jobs.requests_on(connection, "2026-02-01") == 0


def test_requests_by_hand_count_for_the_alarm(connection: sqlite3.Connection) -> None:
    """They add to what its job has spent, finished or not, and one that reached no server is taken back."""
    jobs.debit(connection, worded(connection), DAY)
    jobs.debit_by_hand(connection, "a", DAY)
    jobs.debit_by_hand(connection, "a", DAY)
    jobs.give_back_by_hand(connection, "a", DAY)
    assert (worded(connection).requests, worded(connection).spent) == (1, 2)
    jobs.finish(connection, jobs.unavailable(worded(connection), "expired"), at_ms=7)
    assert (jobs.requests_for(connection, "a"), jobs.requests_for(connection, "b")) == (2, 0)
    assert jobs.requests_on(connection, DAY) == 2


def test_a_draft_is_kept_until_the_end(connection: sqlite3.Connection) -> None:
    """An answer in the wrong form stays with its job over further failures."""
    jobs.debit(connection, worded(connection), DAY)
    jobs.came_back(connection, worded(connection), draft="It knocks.")
    jobs.debit(connection, worded(connection), DAY)
    jobs.came_back(connection, worded(connection))
    assert worded(connection).draft == "It knocks."


def test_a_finished_job_costs_nothing_more(connection: sqlite3.Connection) -> None:
    """No request can be counted for an explanation that was told."""
    job = worded(connection)
    jobs.finish(connection, jobs.unavailable(job, "expired"), at_ms=7)
    with pytest.raises(StorageError, match="no such explanation waits"):
        jobs.debit(connection, job, DAY)
    assert jobs.requests_on(connection, DAY) == 0


def test_an_alarm_that_is_forgotten_takes_its_explanations_along(connection: sqlite3.Connection) -> None:
    """Retention of alarms is retention of what explains them."""
    connection.execute("DELETE FROM alarms WHERE alarm_id = 'a'")
    assert [job.alarm_id for job in jobs.waiting(connection, worded=True)] == ["b"]


def test_a_caption_belongs_to_its_vector_and_its_decoder(connection: sqlite3.Connection) -> None:
    """The same vector by the same decoder is found; another of either is not."""
    vector = np.array([0.5, -1.25], dtype=np.float32)
    keep_caption(connection, vector, "decoder", "Sounds like a fan")
    assert find_caption(connection, vector.copy(), "decoder") == "Sounds like a fan"
    assert find_caption(connection, vector, "another") is None
    assert find_caption(connection, np.nextafter(vector, np.float32(2)), "decoder") is None


def test_no_caption_of_people_is_stored_or_comes_out(connection: sqlite3.Connection) -> None:
    """What speaks of a man talking is not in the database; what an earlier version left there is withheld."""
    vector = np.linspace(0, 1, 4, dtype=np.float32)
    withheld = "Sounds like people or voices (caption withheld)"
    keep_caption(connection, vector, "decoder", "Sounds like a man tells of his pay")
    assert [text for (text,) in connection.execute("SELECT text FROM captions")] == [withheld]
    connection.execute("UPDATE captions SET text = 'Sounds like a man tells of his pay'")
    assert find_caption(connection, vector, "decoder") == withheld
